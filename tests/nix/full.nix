# Every option of the agent's module, set to something.
{
  enable = true;
  program = "/srv/mcp/mcp-agent";
  openFirewall = true;
  subIds = {
    start = 200000;
    count = 100000;
  };
  unprivilegedPortStart = 80;
  stopTimeout = "2min";
  fallbackResolvers = [ "9.9.9.9" ];
  backups.calendar = "hourly";
  settings = {
    server = {
      grpc_addr = "100.64.0.1:9444";
      tls_cert = "/srv/mcp/tls/agent.pem";
      tls_key = "/srv/mcp/tls/agent.key";
      socket = "/run/mcp/other.sock";
    };
    database.path = "/srv/mcp/other.db";
    agent = {
      node_name = "rift";
      address = "100.64.0.1";
      image_registry = "registry.example.net";
      port_range = "20000-30000";
    };
    socket = {
      operators = [ "kyle" ];
      viewers = [ "anna" ];
    };
    log = {
      level = "debug";
      format = "json";
    };
    backup = {
      dir = "/srv/mcp/copies";
      keep = 30;
    };
    monitor = {
      interval = "30s";
      alert_command = [
        "/bin/echo"
        "\"alert\" with\nodd characters: \\ ' #"
      ];
      cooldown = "1h30m";
      flap_threshold = 5;
      flap_window = "5m";
      retention = "90d";
      webhook = [
        {
          url = "https://hooks.example.net/mcp";
          token_file = "/srv/mcp/hook.token";
          ca_cert = "/srv/mcp/ca.pem";
          kinds = [
            "failed"
            "drift"
          ];
        }
        { url = "http://127.0.0.1:9000/"; }
      ];
    };
    boot.sequence = [
      {
        name = "foundation";
        services = [
          "mcr"
          "mcns"
        ];
        timeout = "2m";
        health = "tcp";
        required = true;
      }
      {
        name = "core";
        services = [ "metacrypt" ];
        required = false;
      }
    ];
  };
}
