# A node: the agent, and the user whose systemd runs the containers.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib)
    mkEnableOption
    mkIf
    mkOption
    types
    ;
  cfg = config.services.mcp-agent;
  # The platform's number for the user on every node; the agent counts on it.
  uid = 850;
  home = "/srv/mcp";
  runtime = "/run/user/${toString uid}";
  manager = "user@${toString uid}";

  # Nulls and what is empty are not written.
  written =
    value:
    if builtins.isAttrs value then
      lib.filterAttrs (_: inner: inner != null && inner != { } && inner != [ ]) (
        builtins.mapAttrs (_: written) value
      )
    else if builtins.isList value then
      map written value
    else
      value;
  configFile = (pkgs.formats.toml { }).generate "mcp-agent.toml" (written cfg.settings);

  inherit (cfg.settings.server) grpc_addr;
  port = lib.toInt (lib.last (lib.splitString ":" grpc_addr));

  # Whoever else has subordinate ids among ours.
  first = cfg.subIds.start;
  end = first + cfg.subIds.count;
  overlaps = start: count: start < end && first < start + count;
  others = lib.filterAttrs (name: _: name != "mcp") config.users.users;
  overlapping = builtins.attrNames (
    lib.filterAttrs (
      _: user:
      builtins.any (range: overlaps range.startUid range.count) user.subUidRanges
      || builtins.any (range: overlaps range.startGid range.count) user.subGidRanges
    ) others
  );
  sameUid = builtins.attrNames (lib.filterAttrs (_: user: user.uid == uid) others);
in
{
  options.services.mcp-agent = {
    enable = mkEnableOption "the MCP agent, which has this node's systemd run containers";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ../package.nix { };
      defaultText = "the package of this flake";
      description = "Where the programs come from.";
    };

    program = mkOption {
      type = types.str;
      default = "${cfg.package}/bin/mcp-agent";
      defaultText = "mcp-agent of package";
      example = "/srv/mcp/mcp-agent";
      description = ''
        The program that runs. A path outside the store, such as `/srv/mcp/mcp-agent`, lets the agent be
        replaced without a rebuild of the system; `programs.nix-ld` is then switched on for it.
      '';
    };

    settings = mkOption {
      type = types.submodule { options = import ./settings.nix { inherit lib; }; };
      default = { };
      example = {
        server.grpc_addr = "100.64.0.1:9444";
        boot.sequence = [
          {
            name = "foundation";
            services = [
              "mcr"
              "mcns"
            ];
          }
        ];
      };
      description = "The agent's configuration, `mcp-agent.toml`.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Whether to open the port of `settings.server.grpc_addr`. The ports of containers are yours to open.";
    };

    subIds = {
      start = mkOption {
        type = types.ints.positive;
        default = 8500000;
        description = "The first of the subordinate user and group ids of `mcp`. Containers' files on disk have these ids.";
      };
      count = mkOption {
        type = types.ints.between 65536 1000000000;
        default = 65536;
        description = "How many there are.";
      };
    };

    unprivilegedPortStart = mkOption {
      type = types.nullOr (types.ints.between 0 65535);
      default = null;
      example = 80;
      description = "The first port that containers (and every other user of the node) may publish; null leaves the kernel's 1024.";
    };

    stopTimeout = mkOption {
      type = types.str;
      default = "5min";
      description = "How long all containers together may take to stop when the node goes down.";
    };

    fallbackResolvers = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [
        "9.9.9.9"
        "1.1.1.1"
      ];
      description = "Name servers that are asked when none of those before them answers, so that a node whose own DNS is one of its containers can pull images. The C library asks three at most.";
    };

    backups = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = "Whether the registry is copied by a timer.";
      };
      calendar = mkOption {
        type = types.str;
        default = "daily";
        description = "When, as `systemd.time(7)` writes it.";
      };
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = sameUid == [ ];
        message = "services.mcp-agent: uid ${toString uid} belongs to ${toString sameUid}; user mcp needs it. Give that user another uid and change the owner of its files.";
      }
      {
        assertion = overlapping == [ ];
        message = "services.mcp-agent: subordinate ids from ${toString first} on belong to ${toString overlapping} as well; set services.mcp-agent.subIds.start to where ${toString cfg.subIds.count} are free.";
      }
      {
        assertion = (cfg.settings.server.tls_cert == null) == (cfg.settings.server.tls_key == null);
        message = "services.mcp-agent: settings.server.tls_cert and tls_key go together; set both or neither.";
      }
      {
        assertion = cfg.openFirewall -> grpc_addr != null;
        message = "services.mcp-agent: openFirewall opens the port of settings.server.grpc_addr, which is not set.";
      }
    ];

    virtualisation.podman.enable = true;
    environment.systemPackages = [ cfg.package ];
    programs.nix-ld.enable = mkIf (!lib.hasPrefix builtins.storeDir cfg.program) true;
    boot.kernel.sysctl = mkIf (cfg.unprivilegedPortStart != null) {
      "net.ipv4.ip_unprivileged_port_start" = cfg.unprivilegedPortStart;
    };
    networking.firewall.allowedTCPPorts = mkIf (cfg.openFirewall && grpc_addr != null) [ port ];
    networking.nameservers = mkIf (cfg.fallbackResolvers != [ ]) (lib.mkAfter cfg.fallbackResolvers);

    users.groups.mcp.gid = uid;
    users.users.mcp = {
      description = "MCP, owner of this node's containers";
      isSystemUser = true;
      inherit uid home;
      group = "mcp";
      createHome = true;
      homeMode = "0750";
      linger = true;
      # Users below uid 1000 have no journal of their own.
      extraGroups = [ "systemd-journal" ];
      shell = "/run/current-system/sw/bin/bash";
      subUidRanges = [
        {
          startUid = first;
          inherit (cfg.subIds) count;
        }
      ];
      subGidRanges = [
        {
          startGid = first;
          inherit (cfg.subIds) count;
        }
      ];
    };

    # The user's systemd, which runs the containers.
    systemd.services.${manager} = {
      overrideStrategy = "asDropin";
      # A rebuild of the system is no reason to stop every container.
      restartIfChanged = false;
      stopIfChanged = false;
      # Not ordered after it: a node without a network starts its containers.
      wants = [ "network-online.target" ];
      # Its units call podman, and podman calls newuidmap.
      path = [
        "/run/wrappers"
        "/run/current-system/sw"
      ];
      serviceConfig = {
        Delegate = "cpu cpuset io memory pids";
        TimeoutStopSec = cfg.stopTimeout;
      };
    };

    systemd.services.mcp-agent = {
      description = "MCP agent, deploys and looks after containers";
      documentation = [ "man:mcp-agent(8)" ];
      wantedBy = [ "multi-user.target" ];
      wants = [
        "${manager}.service"
        "network-online.target"
      ];
      after = [
        "${manager}.service"
        "network.target"
      ];
      path = [
        "/run/wrappers"
        "/run/current-system/sw"
      ];
      environment = {
        HOME = home;
        XDG_RUNTIME_DIR = runtime;
        MALLOC_ARENA_MAX = "1";
      };
      unitConfig.StartLimitIntervalSec = 0;
      serviceConfig = {
        ExecStart = "${cfg.program} server --config ${configFile}";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
      }
      // import ./hardening.nix { inherit home runtime; };
    };

    systemd.services.mcp-agent-snapshot = mkIf cfg.backups.enable {
      description = "Copy of the MCP agent's registry";
      documentation = [ "man:mcp-agent(8)" ];
      environment.HOME = home;
      serviceConfig = {
        Type = "oneshot";
        User = "mcp";
        Group = "mcp";
        ExecStart = "${cfg.program} snapshot --config ${configFile}";
        Nice = 10;
        IOSchedulingClass = "idle";
        ProtectSystem = "full";
        PrivateTmp = true;
        PrivateDevices = true;
        PrivateNetwork = true;
        NoNewPrivileges = true;
        ProtectControlGroups = true;
        ProtectKernelTunables = true;
        MemoryDenyWriteExecute = true;
        LockPersonality = true;
      };
    };
    systemd.timers.mcp-agent-snapshot = mkIf cfg.backups.enable {
      description = "Regular copy of the MCP agent's registry";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = cfg.backups.calendar;
        RandomizedDelaySec = "1h";
        Persistent = true;
      };
    };
  };
}
