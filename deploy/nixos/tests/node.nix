# A whole node in a virtual machine: deploys a service, takes the agent away,
# and boots. Run by `nix flake check` in deploy/nixos; needs KVM and nixpkgs.
{
  testers,
  dockerTools,
  busybox,
  modules,
}:

let
  image = dockerTools.buildImage {
    name = "localhost/web";
    tag = "v1";
    copyToRoot = busybox;
    config.Cmd = [
      "/bin/sh"
      "-c"
      "mkdir -p /www && echo hello >/www/index.html && exec httpd -f -p 8080 -h /www"
    ];
  };
in
testers.nixosTest {
  name = "mcp-node";

  nodes.machine = {
    imports = [ modules ];
    virtualisation.diskSize = 4096;
    services.mcp-agent = {
      enable = true;
      settings = {
        agent.node_name = "rift";
        boot.sequence = [
          {
            name = "foundation";
            services = [ "hello" ];
          }
        ];
      };
    };
    environment.etc."hello.toml".text = ''
      name = "hello"

      [[components]]
      name = "hello"
      image = "localhost/web:v1"
      ports = ["127.0.0.1:8080:8080"]
      stop_timeout = "1s"
      health = { http = "/" }
    '';
  };

  testScript = ''
    def as_mcp(command):
        return machine.succeed(
            "cd / && runuser -u mcp -- env HOME=/srv/mcp XDG_RUNTIME_DIR=/run/user/850 "
            f"PATH=/run/wrappers/bin:/run/current-system/sw/bin {command}"
        )

    def answers():
        machine.wait_until_succeeds("curl -fsS http://127.0.0.1:8080/ | grep hello", timeout=120)

    machine.wait_for_unit("mcp-agent.service")
    as_mcp("mcp-agent doctor")
    as_mcp("podman load -i ${image}")

    with subtest("a service is deployed and ready"):
        as_mcp("mcp deploy hello -f /etc/hello.toml")
        answers()
        as_mcp("mcp boot verify")

    with subtest("it outlives the agent"):
        machine.succeed("systemctl kill -s KILL mcp-agent")
        answers()

    with subtest("it comes back from a boot without the agent"):
        machine.succeed("systemctl mask --runtime mcp-agent")
        machine.shutdown()
        machine.start()
        machine.wait_for_unit("multi-user.target")
        answers()
  '';
}
