# The configuration of the agent, key by key; docs/configuration.md describes
# them. What is null or empty is left out of the file, and the agent's own
# default holds.
{ lib }:

let
  inherit (lib) mkOption types;
  maybe =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  list =
    type: description:
    mkOption {
      type = types.listOf type;
      default = [ ];
      inherit description;
    };
  table =
    description: options:
    mkOption {
      type = types.submodule { inherit options; };
      default = { };
      inherit description;
    };
  path = types.strMatching "/.*";
  span = types.strMatching "([0-9]+[smhd])+";
in
{
  server = table "Where the agent serves." {
    grpc_addr = maybe (types.strMatching ".+:[0-9]+") "Address and port where gRPC is served over TLS, such as `100.64.0.1:9444`; null: the Unix socket alone.";
    tls_cert = maybe path "Certificate chain, PEM, readable by user `mcp`; null: a self-made one, which clients pin.";
    tls_key = maybe path "Its key; both or neither.";
    socket = maybe path "The Unix socket.";
  };
  database = table "The agent's registry." {
    path = maybe path "The SQLite file.";
  };
  agent = table "The node." {
    node_name = maybe types.str "What definitions call this node; null: the host name up to its first dot.";
    address = maybe types.str "Where the ports of routes are published.";
    image_registry = maybe types.str "Stands before the names of images that a definition does not write out.";
    port_range = maybe (types.strMatching "[0-9]+-[0-9]+") "Ports for routes.";
  };
  socket = table "Who may use the Unix socket, beside root and user `mcp`." {
    operators = list types.str "Users who may change what runs.";
    viewers = list types.str "Users who may look.";
  };
  log = table "The agent's own log." {
    level = maybe (types.enum [
      "error"
      "warn"
      "info"
      "debug"
      "trace"
    ]) "How much is logged.";
    format = maybe (types.enum [
      "text"
      "json"
    ]) "How a line looks.";
  };
  backup = table "Copies of the registry." {
    dir = maybe path "Where they go.";
    keep = maybe (types.ints.between 1 1000) "How many of them are kept.";
  };
  monitor = table "Watching, and who is told." {
    interval = maybe span "Time between two sweeps.";
    alert_command = list types.str "Run for alerts, without a shell; the first word is the program with its whole path.";
    cooldown = maybe span "How long the same alert is not told again.";
    flap_threshold = maybe types.ints.positive "So many transitions within the window are still normal.";
    flap_window = maybe span "That window.";
    retention = maybe span "How long events are kept.";
    webhook = list (types.submodule {
      options = {
        url = mkOption {
          type = types.strMatching "https?://.+";
          description = "Where the event is sent.";
        };
        token_file = maybe path "File with a bearer token.";
        ca_cert = maybe path "Certificates that are trusted, PEM.";
        kinds = list types.str "Kinds of events; empty: what alerts are about.";
      };
    }) "Who else is told.";
  };
  boot = table "The order of a boot." {
    sequence = list (types.submodule {
      options = {
        name = mkOption {
          type = types.strMatching "[a-z0-9-]+";
          description = "The stage.";
        };
        services = mkOption {
          type = types.nonEmptyListOf types.str;
          description = "Its services.";
        };
        timeout = maybe span "How long the boot waits for it.";
        health = maybe (types.enum [
          "tcp"
          "http"
          "grpc"
          "cmd"
        ]) "What makes components ready that have no check of their own.";
        required = maybe types.bool "Whether what follows waits for as long as it takes; null: the first stage is, others are not.";
      };
    }) "Stages, one after the other.";
  };
}
