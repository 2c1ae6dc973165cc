{
  description = "MCP, the Metacircular Control Plane: containers on a few Linux machines, run by systemd";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAll = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = forAll (pkgs: rec {
        mcp = pkgs.callPackage ./package.nix { };
        default = mcp;
      });

      overlays.default = final: _: { mcp = final.callPackage ./package.nix { }; };

      nixosModules = {
        mcp-agent = ./modules/agent.nix;
        mcp-master = ./modules/master.nix;
        default = ./modules;
      };

      checks = forAll (pkgs: {
        node = pkgs.callPackage ./tests/node.nix { modules = self.nixosModules.default; };
      });

      formatter = forAll (pkgs: pkgs.nixfmt);
    };
}
