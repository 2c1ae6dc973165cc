//! The arguments of a one-off container, made of what podman's generator makes
//! of its component: so a drop-in and `extra` keys do for it too.

use super::arguments::Arguments;
use super::command_line;

/// Options that are for a container that systemd starts and looks after: how
/// it is held, who else reaches it, whether it is healthy. And where its output
/// goes: to who has asked for it, not to the journal.
const NOT_ONE_OFF: &[&str] = &[
    "--detach",
    "--attach",
    "--replace",
    "--sdnotify",
    "--publish",
    "--publish-all",
    "-P",
    "--ip",
    "--ip6",
    "--mac-address",
    "--network-alias",
    "--log-driver",
    "--log-opt",
    "--interactive",
    "-i",
    "--tty",
    "-t",
    "--name",
    "--rm",
];
/// What all options of health checks begin with.
const HEALTH: &str = "--health-";

/// What a one-off container has in the place of its component's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OneOff<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its command; empty: the component's.
    pub command: &'a [String],
    /// Its entry point.
    pub entrypoint: Option<&'a str>,
    /// Its user.
    pub user: Option<&'a str>,
    /// Its working directory.
    pub working_directory: Option<&'a str>,
    /// Variables that it gets in another way.
    pub env: Vec<&'a str>,
}

/// Returns a word that systemd would expand before podman gets it: a specifier
/// or variable of an `extra` key or a drop-in. Nobody expands it for a one-off.
pub fn unexpanded(of: &Arguments) -> Option<String> {
    let options = of.options.iter().map(|(_, value)| value);
    let mut words = options.chain([&of.image]).chain(&of.command);
    words.find(|word| command_line::shown(word) != **word).map(|word| command_line::shown(word))
}

/// Returns the options of `podman run` and what follows them.
pub fn arguments(of: Arguments, one_off: &OneOff<'_>) -> (Vec<String>, Vec<String>) {
    let Arguments { options, image, command } = of;
    let replaced = |flag: &str, value: &str| match flag {
        "--user" => one_off.user.is_some(),
        "--workdir" => one_off.working_directory.is_some(),
        "--entrypoint" => one_off.entrypoint.is_some(),
        "--env" => one_off.env.iter().any(|name| value.split('=').next() == Some(*name)),
        _ => false,
    };
    let kept = options.into_iter().filter(|(flag, value)| {
        !NOT_ONE_OFF.contains(&flag.as_str()) && !flag.starts_with(HEALTH) && !replaced(flag, value)
    });
    let mut words = vec![format!("--name={}", one_off.name), "--rm".to_owned()];
    words.extend(kept.map(|(flag, value)| match value.as_str() {
        "" if Arguments::is_without_value(&flag) => flag,
        value if flag.starts_with("--") => format!("{flag}={value}"),
        value => format!("{flag}{value}"),
    }));
    words.extend(["--sdnotify=ignore", "--log-driver=none", "--no-healthcheck"].map(str::to_owned));
    words.extend(one_off.user.map(|user| format!("--user={user}")));
    words.extend(one_off.working_directory.map(|path| format!("--workdir={path}")));
    words.extend(one_off.entrypoint.map(|program| {
        format!("--entrypoint={}", super::arguments::json_words(&[program.to_owned()]))
    }));
    let command = if one_off.command.is_empty() && one_off.entrypoint.is_none() {
        command
    } else {
        one_off.command.to_vec()
    };
    (words, std::iter::once(image).chain(command).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Arguments {
        let words: Vec<String> =
            ["podman", "run"].iter().chain(words).map(|&word| word.to_owned()).collect();
        Arguments::read(&words).unwrap()
    }

    #[test]
    fn what_systemd_would_expand_is_found() {
        let words = command_line::words("podman run -v %h/x:/x localhost/x:1").unwrap();
        let of = Arguments::read(&words).unwrap();
        assert_eq!(unexpanded(&of).unwrap(), "%h/x:/x");
    }

    /// What podman's generator makes of a component with a bit of everything.
    fn component() -> Arguments {
        of(&[
            "--name=web-api",
            "--replace",
            "--rm",
            "-d",
            "--cgroups=split",
            "--sdnotify=healthy",
            "--pull=never",
            "--network=net",
            "--publish",
            "80:80",
            "-v",
            "web-data:/data",
            "--env",
            "A=1",
            "--env",
            "AB=2",
            "--user",
            "app",
            "--health-cmd=[]",
            "--health-interval=2s",
            "--log-driver=journald",
            "--log-opt=tag=x",
            "--memory=1g",
            "--ip=10.0.0.1",
            "--label",
            "mcp.service=web",
            "--read-only",
            "localhost/x:1",
            "serve",
            "--all",
        ])
    }

    #[test]
    fn what_is_of_a_service_goes_and_the_rest_stays() {
        let generated = component();
        let command = ["psql".to_owned()];
        let one_off = OneOff {
            name: "web-api-run-1",
            command: &command,
            user: Some("0"),
            env: vec!["A"],
            ..OneOff::default()
        };
        assert_eq!(unexpanded(&generated), None);
        let (options, operands) = arguments(generated.clone(), &one_off);
        assert_eq!(
            options,
            [
                "--name=web-api-run-1",
                "--rm",
                "--cgroups=split",
                "--env=AB=2",
                "--label=mcp.service=web",
                "--memory=1g",
                "--network=net",
                "--pull=never",
                "--read-only",
                "--volume=web-data:/data",
                "--sdnotify=ignore",
                "--log-driver=none",
                "--no-healthcheck",
                "--user=0",
            ]
        );
        assert_eq!(operands, ["localhost/x:1", "psql"]);

        let own = OneOff { name: "x", ..OneOff::default() };
        assert_eq!(arguments(generated.clone(), &own).1, ["localhost/x:1", "serve", "--all"]);
        let other = OneOff { name: "x", entrypoint: Some("/bin/sh"), ..OneOff::default() };
        let (options, operands) = arguments(generated, &other);
        assert!(options.contains(&"--entrypoint=[\"/bin/sh\"]".to_owned()), "{options:?}");
        assert_eq!(operands, ["localhost/x:1"]);
    }
}
