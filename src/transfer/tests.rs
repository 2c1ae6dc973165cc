//! Both ends together, over a wire in memory.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::mpsc;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

/// One end of a wire between two threads; it may be cut after some frames.
struct Pipe {
    to: mpsc::SyncSender<Frame>,
    from: mpsc::Receiver<Frame>,
    left: usize,
}

impl Wire for Pipe {
    fn send(&mut self, frame: Frame) -> Result<(), WireError> {
        self.left = self.left.checked_sub(1).ok_or(WireError)?;
        self.to.send(frame).map_err(|_| WireError)
    }

    fn receive(&mut self) -> Result<Frame, WireError> {
        self.from.recv().map_err(|_| WireError)
    }
}

/// A sender that says what it likes.
struct Script {
    says: VecDeque<Frame>,
    heard: Vec<Frame>,
}

impl Wire for Script {
    fn send(&mut self, frame: Frame) -> Result<(), WireError> {
        self.heard.push(frame);
        Ok(())
    }

    fn receive(&mut self) -> Result<Frame, WireError> {
        self.says.pop_front().ok_or(WireError)
    }
}

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn receiving(root: &Path, base: &str) -> Receiving {
    Receiving {
        root: open_directory(root).unwrap(),
        base: path(base),
        alone: None,
        owner: None,
        keep_modes: false,
    }
}

/// Sends `source` to `base` below `root`; the sender falls silent after
/// `frames`.
fn transfer(
    source: &Path,
    root: &Path,
    base: &str,
    frames: usize,
) -> (Result<(), TransferError>, Result<Summary, TransferError>) {
    let (to, from) = mpsc::sync_channel(2);
    let (back, answers) = mpsc::sync_channel(2);
    let source = Source::named(source).unwrap();
    let sender = std::thread::spawn(move || {
        let mut pipe = Pipe { to, from: answers, left: frames };
        send(&source, &mut pipe)?;
        assert!(matches!(pipe.receive()?, Frame::Received(_)));
        Ok(())
    });
    let mut end = Pipe { to: back, from, left: usize::MAX };
    let received = receive(&receiving(root, base), &mut end);
    drop(end);
    (sender.join().unwrap(), received)
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

fn put(path: &Path, content: &[u8], mode: u32) {
    crate::atomic_file::write(path, content, mode).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            shown(std::os::unix::ffi::OsStrExt::as_bytes(entry.unwrap().file_name().as_os_str()))
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_tree_arrives_with_its_modes_and_without_what_is_no_file() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = from.path().join("conf");
    fs::create_dir_all(source.join("deep/er")).unwrap();
    put(&source.join("a"), b"one", 0o640);
    put(&source.join("deep/tool"), b"#!", 0o4755);
    put(&source.join("deep/er/empty"), b"", 0o600);
    symlink("/etc/passwd", source.join("link")).unwrap();
    put(&source.join("line\nbreak"), b"x", 0o644);
    put(&source.join(".mcp-part-00"), b"half", 0o600);
    fs::set_permissions(source.join("deep"), fs::Permissions::from_mode(0o555)).unwrap();

    let (sent, received) = transfer(&source, to.path(), "x/y", usize::MAX);
    fs::set_permissions(source.join("deep"), fs::Permissions::from_mode(0o755)).unwrap();
    sent.unwrap();
    let summary = received.unwrap();
    assert_eq!((summary.files, summary.directories, summary.bytes), (3, 3, 5));
    let there = to.path().join("x/y");
    let mode = |name: &str| there.join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(names(&there), ["a", "deep"]);
    assert_eq!((mode("a"), mode("deep/tool"), mode("deep/er/empty")), (0o640, 0o755, 0o600));
    assert_eq!(mode("deep"), 0o555);
    assert_eq!(fs::read(there.join("a")).unwrap(), b"one");

    let (_, again) = transfer(&source, to.path(), "x/y", usize::MAX);
    let again = again.unwrap();
    assert_eq!((again.files, again.unchanged, again.directories), (0, 3, 0));
    put(&source.join("a"), b"one", 0o600);
    assert_eq!(transfer(&source, to.path(), "x/y", usize::MAX).1.unwrap().files, 1);
    assert_eq!(mode("a"), 0o600);
}

#[test]
fn what_has_no_mode_takes_that_of_what_is_there() {
    let to = tempfile::tempdir().unwrap();
    let send = |content: &[u8]| {
        let file = |size| Frame::File { path: path("."), mode: 0o600, size, asks: false };
        let hash = <[u8; 32]>::from(Sha256::digest(content));
        let size = content.len() as u64;
        let says = [file(size), Frame::Data(content.to_vec()), Frame::End(hash), Frame::Done];
        let mut script = Script { says: says.into(), heard: Vec::new() };
        let to = Receiving { keep_modes: true, ..receiving(to.path(), "key") };
        receive(&to, &mut script).unwrap().files
    };
    let file = to.path().join("key");
    let mode = || file.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((send(b"one"), mode()), (1, 0o600));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!((send(b"two"), mode()), (1, 0o640));
    assert_eq!((send(b"two"), mode()), (0, 0o640));
    assert_eq!(fs::read(&file).unwrap(), b"two");
}

#[test]
fn a_large_file_that_was_cut_off_goes_on_where_it_stopped() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = from.path().join("big");
    let bytes = content(usize::try_from(LARGE).unwrap() + 12_345);
    put(&source, &bytes, 0o644);
    // Begin, answer, and ten chunks.
    let (sent, received) = transfer(&source, to.path(), "big", 12);
    assert!(matches!(sent, Err(TransferError::Wire(_))));
    assert!(matches!(received, Err(TransferError::Wire(_))));
    let left = names(to.path());
    assert!(left.len() == 1 && left[0].starts_with(".mcp-part-"), "{left:?}");

    let summary = transfer(&source, to.path(), "big", usize::MAX).1.unwrap();
    assert_eq!((summary.files, summary.resumed), (1, 10 * CHUNK as u64));
    assert_eq!(names(to.path()), ["big"]);
    assert!(fs::read(to.path().join("big")).unwrap() == bytes);
    let same = transfer(&source, to.path(), "big", usize::MAX).1.unwrap();
    assert_eq!((same.files, same.unchanged), (0, 1));

    // The rest of another file is not made to fit.
    fs::remove_file(to.path().join("big")).unwrap();
    drop(transfer(&source, to.path(), "big", 12));
    let mut other = bytes;
    other[5] ^= 1;
    put(&source, &other, 0o644);
    let summary = transfer(&source, to.path(), "big", usize::MAX).1.unwrap();
    assert_eq!((summary.files, summary.resumed), (1, 0));
    assert!(fs::read(to.path().join("big")).unwrap() == other);
}

#[test]
fn a_small_file_that_was_cut_off_leaves_nothing() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(&from.path().join("a"), &content(CHUNK * 3), 0o644);
    put(&to.path().join("a"), b"old", 0o644);
    let (_, received) = transfer(&from.path().join("a"), to.path(), "a", 3);
    assert!(received.is_err());
    assert_eq!(names(to.path()), ["a"]);
    assert_eq!(fs::read(to.path().join("a")).unwrap(), b"old");
}

/// Receives what a script says into a directory with traps in it.
fn scripted(root: &Path, base: &str, says: Vec<Frame>) -> Result<Summary, TransferError> {
    receive(&receiving(root, base), &mut Script { says: says.into(), heard: Vec::new() })
}

fn file(name: &str, content: &[u8]) -> Vec<Frame> {
    use sha2::{Digest as _, Sha256};
    let size = content.len() as u64;
    vec![
        Frame::File { path: path(name), mode: 0o6777, size, asks: false },
        Frame::Data(content.to_vec()),
        Frame::End(Sha256::digest(content).into()),
        Frame::Done,
    ]
}

#[test]
fn links_pipes_and_wrong_kinds_are_neither_followed_nor_replaced() {
    let outside = tempfile::tempdir().unwrap();
    put(&outside.path().join("passwd"), b"kept", 0o644);
    let inside = tempfile::tempdir().unwrap();
    let at = |name: &str| inside.path().join(name);
    symlink(outside.path(), at("out")).unwrap();
    symlink(outside.path().join("passwd"), at("link")).unwrap();
    symlink(outside.path().join("new"), at("dangling")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
    fs::create_dir(at("dir")).unwrap();
    for name in ["out/x", "link", "dangling", "pipe", "dir", "out/../x/y/../../passwd"] {
        let Ok(name) = TreePath::parse(name.as_bytes()) else { continue };
        let result = scripted(inside.path(), ".", file(&name.to_string(), b"evil"));
        assert!(result.is_err(), "{name}");
    }
    let directory = Frame::Directory { path: path("link"), mode: 0o755 };
    assert!(scripted(inside.path(), ".", vec![directory, Frame::Done]).is_err());
    assert_eq!(names(outside.path()), ["passwd"]);
    assert_eq!(fs::read(outside.path().join("passwd")).unwrap(), b"kept");
    assert_eq!(names(inside.path()), ["dangling", "dir", "link", "out", "pipe"]);

    // The name of the temporary file is known: a link there is not followed.
    drop(scripted(
        inside.path(),
        ".",
        vec![
            Frame::File { path: path("f"), mode: 0o644, size: LARGE, asks: true },
            Frame::From(0),
            Frame::Data(vec![1]),
        ],
    ));
    let part = names(inside.path()).into_iter().find(|name| name.starts_with(".mcp-part")).unwrap();
    for target in [outside.path().join("passwd"), outside.path().join("new")] {
        fs::remove_file(at(&part)).unwrap_or_default();
        symlink(&target, at(&part)).unwrap();
        scripted(inside.path(), ".", file("f", b"good")).unwrap();
        assert_eq!(fs::read(at("f")).unwrap(), b"good");
        fs::remove_file(at("f")).unwrap();
    }
    fs::hard_link(outside.path().join("passwd"), at(&part)).unwrap();
    scripted(inside.path(), ".", file("f", b"good")).unwrap();
    assert_eq!(fs::read(outside.path().join("passwd")).unwrap(), b"kept");
    assert_eq!(names(outside.path()), ["passwd"]);
    assert_eq!(at("f").metadata().unwrap().permissions().mode() & 0o7777, 0o777);
}

#[test]
fn a_sender_that_lies_gets_nothing_written() {
    let root = tempfile::tempdir().unwrap();
    let begin = |size, asks| Frame::File { path: path("f"), mode: 0o644, size, asks };
    let lies = [
        vec![begin(3, false), Frame::Data(vec![0; 4])],
        vec![begin(3, false), Frame::Data(vec![0; 3]), Frame::End([0; 32])],
        vec![begin(3, false), Frame::End([0; 32])],
        vec![begin(3, false), Frame::Done],
        vec![begin(LARGE, true), Frame::Same],
        vec![begin(LARGE, true), Frame::From(7)],
        vec![begin(u64::MAX, false), Frame::Data(vec![0; 4])],
        vec![Frame::Data(vec![0; 4])],
        vec![Frame::File { path: path("."), mode: 0, size: 0, asks: false }],
    ];
    for lie in lies {
        let shown = format!("{lie:?}");
        assert!(scripted(root.path(), ".", lie).is_err(), "{shown}");
        assert!(names(root.path()).is_empty(), "{shown}");
    }
}

#[test]
fn two_transfers_do_not_write_the_same_file_at_once() {
    struct Nested<'a>(&'a Path, Script, Option<TransferError>);
    impl Wire for Nested<'_> {
        fn send(&mut self, frame: Frame) -> Result<(), WireError> {
            self.1.send(frame)
        }
        fn receive(&mut self) -> Result<Frame, WireError> {
            let next = self.1.receive()?;
            if matches!(next, Frame::End(_)) {
                self.2 = scripted(self.0, ".", file("f", b"other")).err();
            }
            Ok(next)
        }
    }
    let root = tempfile::tempdir().unwrap();
    let says = file("f", b"mine").into();
    let mut wire = Nested(root.path(), Script { says, heard: Vec::new() }, None);
    receive(&receiving(root.path(), "."), &mut wire).unwrap();
    assert!(matches!(wire.2, Some(TransferError::Busy { .. })), "{:?}", wire.2);
    assert_eq!(fs::read(root.path().join("f")).unwrap(), b"mine");
}

#[test]
fn what_is_sent_below_a_root_never_leaves_it() {
    let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(&outside.path().join("secret"), b"s", 0o644);
    symlink(outside.path(), inside.path().join("out")).unwrap();
    symlink(outside.path().join("secret"), inside.path().join("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, inside.path().join("pipe"), rustix::fs::Mode::RWXU)
        .unwrap();
    let root = open_directory(inside.path()).unwrap();
    for name in ["out/secret", "out", "link", "pipe", "nothing"] {
        assert!(Source::below(&root, &path(name)).is_err(), "{name}");
    }
    let mut wire = Script { says: VecDeque::new(), heard: Vec::new() };
    send(&Source::below(&root, &path(".")).unwrap(), &mut wire).unwrap();
    let data = wire.heard.iter().any(|frame| matches!(frame, Frame::Data(_)));
    let left_out = wire.heard.iter().filter(|frame| matches!(frame, Frame::LeftOut { .. }));
    assert_eq!((data, left_out.count()), (false, 3));
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let name = prop_oneof!["[a-c]", "[a-c]/[a-c]", Just("out/x".to_owned()), Just("l".to_owned())];
    let name = name.prop_map(|name| path(&name));
    prop_oneof![
        (name.clone(), 0..0o10000_u32).prop_map(|(path, mode)| Frame::Directory { path, mode }),
        (name, 0..0o10000_u32, 0..4_u64, any::<bool>())
            .prop_map(|(path, mode, size, asks)| Frame::File { path, mode, size, asks }),
        prop::collection::vec(any::<u8>(), 0..3).prop_map(Frame::Data),
        Just(Frame::From(0)),
        Just(Frame::Same),
        Just(Frame::End(Sha256::digest(b"").into())),
        Just(Frame::Done),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_said_nothing_outside_changes(says in prop::collection::vec(any_frame(), 0..12)) {
        let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(&outside.path().join("kept"), b"kept", 0o640);
        symlink(outside.path(), inside.path().join("out")).unwrap();
        symlink(outside.path().join("kept"), inside.path().join("l")).unwrap();
        drop(scripted(inside.path(), ".", says));
        prop_assert_eq!(names(outside.path()), ["kept"]);
        prop_assert_eq!(fs::read(outside.path().join("kept")).unwrap(), b"kept");
        prop_assert_eq!(outside.path().join("kept").metadata().unwrap().permissions().mode() & 0o7777, 0o640);
    }
}

#[test]
fn a_file_that_is_sent_to_a_directory_is_refused_with_how_to_say_it() {
    let dir = tempfile::tempdir().unwrap();
    let (source, root) = (dir.path().join("a.conf"), dir.path().join("root"));
    put(&source, b"x", 0o644);
    fs::create_dir_all(root.join("conf/a.conf")).unwrap();
    let (_, received) = transfer(&source, &root, "conf", usize::MAX);
    let told = "conf is a directory there; to put the file into it, write conf/";
    assert_eq!(received.unwrap_err().to_string(), told);
    // Within a directory that is sent nothing can be written otherwise.
    let sent = dir.path().join("sent");
    fs::create_dir_all(&sent).unwrap();
    put(&sent.join("a.conf"), b"x", 0o644);
    let (_, received) = transfer(&sent, &root, "conf", usize::MAX);
    assert!(received.unwrap_err().to_string().contains("not a file; it is left alone"));
}

#[test]
fn a_file_is_poured_as_it_is_and_a_directory_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (small, large) = (content(100), content(usize::try_from(LARGE).unwrap() + 5));
    put(&dir.path().join("small"), &small, 0o600);
    put(&dir.path().join("large"), &large, 0o600);
    let poured = |source: Source, out: &mut dyn std::io::Write| {
        let (to, from) = mpsc::sync_channel(2);
        let (back, answers) = mpsc::sync_channel(2);
        let sender = std::thread::spawn(move || {
            let mut pipe = Pipe { to, from: answers, left: usize::MAX };
            drop(send(&source, &mut pipe).map(|()| pipe.receive()));
        });
        let mut end = Pipe { to: back, from, left: usize::MAX };
        let mut out = out;
        let result = pour(&mut out, &mut end);
        drop(end);
        sender.join().unwrap();
        result
    };
    let named = |name: &str| Source::named(&dir.path().join(name)).unwrap();
    for (name, content) in [("small", &small), ("large", &large)] {
        let mut out = Vec::new();
        let summary = poured(named(name), &mut out).unwrap();
        assert_eq!((summary.files, summary.bytes), (1, content.len() as u64));
        assert!(out == *content, "{name}");
    }
    let refused = poured(named("."), &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(refused, "it is a directory; only a file can go to standard output");
    // What standard input holds is sent like a file.
    let kept = Source::kept(large.as_slice()).unwrap();
    let mut out = Vec::new();
    assert_eq!(poured(kept, &mut out).unwrap().bytes, large.len() as u64);
    assert!(out == large);
}

#[test]
fn what_is_poured_is_checked_and_a_reader_may_go() {
    struct Gone;
    impl std::io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let script = || {
        let file = Frame::File { path: path("."), mode: 0o600, size: 1, asks: false };
        let says = [file, Frame::Data(vec![1]), Frame::End([0; 32]), Frame::Done];
        Script { says: says.into(), heard: Vec::new() }
    };
    let garbled = pour(&mut Vec::new(), &mut script());
    assert!(matches!(garbled, Err(TransferError::Garbled)), "{garbled:?}");
    assert_eq!(pour(&mut Gone, &mut script()).unwrap().files, 0);
}

#[test]
fn a_terminal_is_shown_text_and_nothing_that_it_would_act_on() {
    use std::io::Write as _;
    let mut seen = Vec::new();
    let mut terminal = Terminal::new(&mut seen);
    // In the middle of a character.
    for part in ["a\u{1b}[2J\r\n\u{e4}".as_bytes(), b"\xe2\x82", b"\xac\tz"] {
        terminal.write_all(part).unwrap();
    }
    // And of the end of a line, after what is no character.
    for part in [b"\r".as_slice(), b"\n\xff\xe2\x82", b"\xac"] {
        terminal.write_all(part).unwrap();
    }
    terminal.flush().unwrap();
    assert!(terminal.write_all(b"ELF\0").is_err());
    drop(terminal);
    assert_eq!(String::from_utf8(seen).unwrap(), "a^[[2J\n\u{e4}\u{20ac}\tz\n\u{fffd}\u{20ac}");
}
