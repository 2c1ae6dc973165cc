# The modules, evaluated without NixOS: what they would configure, and the text
# about their options.
{
  lib ? import ./lib.nix,
}:

let
  file = name: {
    outPath = "/nix/store/mcp-test-${name}";
  };
  pkgs = {
    coreutils = file "coreutils";
    callPackage = _: _: file "mcp";
    # The value itself stands where the file's path would.
    formats.toml = _: { generate = _: builtins.toJSON; };
  };
  modules = {
    mcp-agent = ../../deploy/nixos/modules/agent.nix;
    mcp-master = ../../deploy/nixos/modules/master.nix;
  };

  # A node where users and services are as given.
  node =
    name: users: settings:
    if lib ? evalModules then
      (lib.evalModules {
        specialArgs = { inherit pkgs; };
        modules = [
          modules.${name}
          {
            options.users.users = lib.mkOption {
              type = lib.types.attrsOf lib.types.anything;
            };
            config = {
              # Whatever NixOS has and this has not is taken as it comes.
              _module.freeformType = lib.types.lazyAttrsOf lib.types.anything;
              services.${name} = settings;
              users.users = users;
            };
          }
        ];
      }).config
    else
      let
        module = import modules.${name} {
          inherit lib pkgs;
          config = {
            services.${name} = lib.resolve [ "services" name ] module.options.services.${name} settings;
            users.users = users;
          };
        };
      in
      lib.discharge module.config;

  someone = {
    uid = 1000;
    subUidRanges = [ ];
    subGidRanges = [ ];
  };
  complaints =
    config: map (claim: claim.message) (builtins.filter (claim: !claim.assertion) config.assertions);
  agent = node "mcp-agent" { };

  # An option, or all below a table of them, as lines of a document.
  describe =
    path: option:
    if (option._type or "") != "option" then
      builtins.concatLists (
        map (name: describe "${path}.${name}" option.${name}) (builtins.attrNames option)
      )
    else
      let
        inner = option.type.nested or null;
        of = if option.type.description == "submodule" then path else "${path}.*";
      in
      if inner != null then
        describe of inner
      else
        [
          {
            name = path;
            type = option.type.description;
            default =
              if option ? defaultText then
                option.defaultText
              else if option ? default then
                builtins.toJSON option.default
              else
                null;
            text = builtins.replaceStrings [ "\n" ] [ " " ] option.description;
          }
        ];
  cell = builtins.replaceStrings [ "|" ] [ "\\|" ];
  # A text of several lines ends with one.
  trimmed = text: builtins.head (builtins.match "(.*[^ ]) *" text);
  row =
    option:
    let
      default = if option.default == null then "required" else "`${cell option.default}`";
    in
    "| `${option.name}` | ${cell option.type} | ${default} | ${cell (trimmed option.text)} |\n";
  described =
    name:
    let
      module = import modules.${name} {
        inherit lib pkgs;
        config.services.${name}.package = "";
      };
    in
    describe "services.${name}" module.options.services.${name};
in
{
  # Everything that can be set, set.
  full = agent (import ./full.nix);
  # Nothing but `enable`.
  plain = agent { enable = true; };
  off = agent { };
  master = node "mcp-master" { } { enable = true; };

  complaints = {
    plain = complaints (agent { enable = true; });
    uid = complaints (
      node "mcp-agent" { kyle = someone // { uid = 850; }; } { enable = true; }
    );
    subids = complaints (
      node "mcp-agent" {
        kyle = someone // {
          subUidRanges = [
            {
              startUid = 8500001;
              count = 1;
            }
          ];
        };
      } { enable = true; }
    );
    firewall = complaints (agent {
      enable = true;
      openFirewall = true;
    });
    tls = complaints (agent {
      enable = true;
      settings.server.tls_cert = "/srv/mcp/tls/agent.pem";
    });
  };

  keys = map (option: option.name) (described "mcp-agent");
  options =
    "# Options of the NixOS modules\n\n"
    + "Made from `deploy/nixos/modules/` by `make nixos-options`. [nixos.md](nixos.md) says how to use them,\n"
    + "[configuration.md](configuration.md) what the settings mean. `*` stands for each entry of a list.\n"
    + builtins.concatStringsSep "" (
      map (
        name:
        "\n## services.${name}\n\n| option | type | default | |\n| --- | --- | --- | --- |\n"
        + builtins.concatStringsSep "" (map row (described name))
      ) (builtins.attrNames modules)
    );
}
