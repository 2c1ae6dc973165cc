# The fleet's coordinator. Its program says its version and serves nothing yet.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.mcp-master;
in
{
  options.services.mcp-master = {
    enable = lib.mkEnableOption "the program of the MCP master on this machine";
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ../package.nix { };
      defaultText = "the package of this flake";
      description = "Where the program comes from.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    warnings = [
      "services.mcp-master: this version of mcp-master serves nothing yet, so there is no service; the program is installed."
    ];
  };
}
