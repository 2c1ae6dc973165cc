# What the unit of the Debian package says under [Service], and why:
# deploy/debian/mcp-agent.service. A test holds the two together.
{ home, runtime }:
{
  Type = "notify";
  User = "mcp";
  Group = "mcp";
  SupplementaryGroups = "systemd-journal";
  RuntimeDirectory = "mcp";
  RuntimeDirectoryMode = "0755";
  Restart = "always";
  RestartSec = 2;
  RestartPreventExitStatus = 2;
  WatchdogSec = 60;
  TimeoutStartSec = 120;
  TimeoutStopSec = 20;
  KillMode = "process";
  ProtectSystem = "strict";
  ReadWritePaths = "${home} ${runtime}";
  PrivateTmp = true;
  ProtectControlGroups = true;
  ProtectKernelTunables = true;
  MemoryDenyWriteExecute = true;
  LockPersonality = true;
}
