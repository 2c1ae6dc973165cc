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
  RestartPreventExitStatus = 78;
  WatchdogSec = 120;
  TimeoutStartSec = 120;
  TimeoutStopSec = 20;
  KillMode = "process";
  ProtectSystem = "strict";
  ReadWritePaths = "${home} ${runtime}";
  PrivateTmp = true;
  ProtectControlGroups = true;
  ProtectKernelTunables = true;
  ProtectKernelModules = true;
  ProtectKernelLogs = true;
  ProtectClock = true;
  MemoryDenyWriteExecute = true;
  LockPersonality = true;
  RestrictRealtime = true;
  UMask = "0077";
  SystemCallArchitectures = "native";
  SystemCallFilter = "~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap";
  SystemCallErrorNumber = "EPERM";
  RestrictAddressFamilies = "AF_UNIX AF_INET AF_INET6 AF_NETLINK";
  CapabilityBoundingSet = "CAP_SETUID CAP_SETGID CAP_DAC_OVERRIDE CAP_SYS_ADMIN";
}
