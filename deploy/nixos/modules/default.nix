# Both modules.
{
  imports = [
    ./agent.nix
    ./master.nix
  ];
}
