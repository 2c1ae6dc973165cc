# A flake with this makes the machine a node; docs/nixos.md says more.
{
  inputs.mcp.url = "git+https://git.wntrmute.dev/mc/mcp?dir=deploy/nixos";

  outputs = { nixpkgs, mcp, ... }: {
    nixosConfigurations.@HOST@ = nixpkgs.lib.nixosSystem {
      modules = [
        ./configuration.nix
        mcp.nixosModules.mcp-agent
        {
          services.mcp-agent = {
            enable = true;
            openFirewall = true;
            settings.server.grpc_addr = "@ADDRESS@";
          };
        }
      ];
    };
  };
}

# Then, on the machine and here:
#   nixos-rebuild switch
#   runuser -u mcp -- mcp-agent token create --name YOU --role admin
#   mcp node add @HOST@ @ADDRESS@ && mcp login -n @HOST@
