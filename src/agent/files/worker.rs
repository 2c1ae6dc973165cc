//! `mcp-agent files`: one end of a transfer, as root of the user's own
//! namespaces. Frames come on standard input and go to standard output, each
//! after its length in four bytes, the highest first.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use prost::Message as _;
use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tonic::Code;

pub use super::command::{End, FilesArgs};
use super::owner::in_user_namespace;
use crate::rpc::agent_v1 as pb;
use crate::rpc::agent_v1::file_frame::Frame as Wire;
use crate::telemetry::Chain;
use crate::transfer::{
    self, Frame, Ids, Kind, OwnerError, Receiving, Source, TransferError, TreePath, UserText,
    WireError,
};

/// The longest frame, in bytes: one chunk of content, and its name.
pub(super) const LONGEST: usize = 1024 * 1024;

/// Says why there was no transfer.
#[derive(Debug, thiserror::Error)]
enum WorkerError {
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error("cannot make {}", path.display())]
    Dir { path: std::path::PathBuf, source: io::Error },
    #[error(
        "there is no {path}, and this user cannot make it; make it once: sudo install -d -o {user} -g {group} {path}"
    )]
    NoDataDirectory { path: String, user: u32, group: u32 },
    #[error("cannot open the data directory {path}")]
    DataDirectory { path: String, source: io::Error },
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error("podman cannot say who the user of image {image} is: {said}")]
    Image { image: String, said: String },
    #[error("cannot run podman")]
    Podman(#[source] io::Error),
}

impl WorkerError {
    fn code(&self) -> Code {
        match self {
            Self::Transfer(TransferError::Path(_)) | Self::Owner(_) => Code::InvalidArgument,
            Self::Transfer(TransferError::Busy { .. }) => Code::Aborted,
            Self::Transfer(TransferError::Io { errno: Errno::NOSPC | Errno::DQUOT, .. }) => {
                Code::ResourceExhausted
            }
            Self::Transfer(TransferError::Wire(_)) => Code::Cancelled,
            Self::Transfer(_)
            | Self::Dir { .. }
            | Self::NoDataDirectory { .. }
            | Self::DataDirectory { .. }
            | Self::Image { .. }
            | Self::Podman(_) => Code::FailedPrecondition,
        }
    }
}

/// Runs one end of a transfer; how it went is in the last frame.
pub fn run(args: &FilesArgs) -> ExitCode {
    let mut pipes = Pipes { input: io::stdin().lock(), output: io::stdout().lock() };
    let Err(error) = serve(args, &mut pipes) else { return ExitCode::SUCCESS };
    let failed = pb::FilesFailed { code: error.code().into(), message: Chain(&error).to_string() };
    // Whoever does not read it any more has gone.
    drop(pipes.put(Wire::Failed(failed)));
    ExitCode::FAILURE
}

fn serve<R: Read, W: Write>(args: &FilesArgs, pipes: &mut Pipes<R, W>) -> Result<(), WorkerError> {
    let Some(Wire::Begin(begin)) = pipes.take().map_err(TransferError::from)?.frame else {
        return Err(TransferError::Protocol("where files are was to come").into());
    };
    let path = TreePath::parse(&begin.path).map_err(TransferError::from)?;
    if args.end == End::List {
        for (name, kind) in transfer::names(&data_directory(args)?, &path, &begin.prefix)? {
            let directory = kind == Kind::Directory;
            let entry = pb::FileEntry { path: name, directory, ..pb::FileEntry::default() };
            pipes.put(Wire::Entry(entry)).map_err(TransferError::from)?;
        }
        return Ok(pipes.put(Wire::Done(true)).map_err(TransferError::from)?);
    }
    if args.end == End::Send {
        let source = Source::below(&data_directory(args)?, &path)?;
        pipes.start(Ids::default(), Vec::new())?;
        return Ok(transfer::send(&source, pipes)?);
    }
    let (seen, notes) = owner(args)?;
    let root = data_directory(args)?;
    let ids = in_user_namespace(seen, args.userns.as_deref(), args.own());
    pipes.start(seen, notes)?;
    let owner = Some((ids.user, ids.group));
    let to = Receiving { root, base: path, alone: None, owner, keep_modes: begin.keep_modes };
    transfer::receive(&to, pipes)?;
    Ok(())
}

/// Opens the service's data directory, and makes it for files that come.
fn data_directory(args: &FilesArgs) -> Result<OwnedFd, WorkerError> {
    let path = args.dir.join(args.service.as_str()).display().to_string();
    if args.end == End::Receive {
        std::fs::create_dir_all(&args.dir)
            .map_err(|source| WorkerError::Dir { path: args.dir.clone(), source })?;
    }
    let dir = transfer::open_directory(&args.dir)?;
    let name = args.service.as_str();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let open = || fs::openat2(&dir, name, flags, Mode::empty(), resolve);
    let failed = |errno: Errno| match errno {
        Errno::LOOP | Errno::NOTDIR => WorkerError::DataDirectory {
            path: path.clone(),
            source: io::Error::other("it is a link or a file, and must be a directory itself"),
        },
        errno => WorkerError::DataDirectory { path: path.clone(), source: errno.into() },
    };
    match open() {
        Err(Errno::NOENT) if args.end == End::Receive => {}
        other => return other.map_err(failed),
    }
    match fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => open().map_err(failed),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
            Err(WorkerError::NoDataDirectory { path, user: args.own_user, group: args.own_group })
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// Finds out whose the files are to be, as the component sees it, and what
/// there is to know about that.
fn owner(args: &FilesArgs) -> Result<(Ids, Vec<String>), WorkerError> {
    let user = match (&args.user, &args.image) {
        (Some(user), _) => user.clone(),
        (None, Some(image)) => match image_user(image)? {
            Some(user) if user.is_empty() => "0".to_owned(),
            Some(user) => user,
            None => {
                let note = format!(
                    "image {image} is not on the node, so its user is not known: the files are root's; --owner gives them to another"
                );
                return Ok((Ids::default(), vec![note]));
            }
        },
        (None, None) => "0".to_owned(),
    };
    let text: UserText = user.parse()?;
    if let Some(ids) = text.numbers() {
        return Ok((ids, Vec::new()));
    }
    let files = args.image.as_deref().map(user_files).transpose()?;
    let (passwd, group) = files.unwrap_or_default();
    Ok((text.look_up(&passwd, &group)?, Vec::new()))
}

/// Asks podman; none: it does not know the image.
fn podman(image: &str, words: &[&str]) -> Result<Option<String>, WorkerError> {
    let output = Command::new("podman")
        .args(words)
        .args(["--", image])
        .stdin(Stdio::null())
        .output()
        .map_err(WorkerError::Podman)?;
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("image not known") {
        return Ok(None);
    }
    let said = said.chars().filter(|c| !c.is_control()).take(400).collect();
    Err(WorkerError::Image { image: image.to_owned(), said })
}

fn image_user(image: &str) -> Result<Option<String>, WorkerError> {
    podman(image, &["image", "inspect", "--format", "{{.Config.User}}"])
}

/// Reads `/etc/passwd` and `/etc/group` of an image; one that the node does
/// not have knows nobody.
fn user_files(image: &str) -> Result<(String, String), WorkerError> {
    let Some(at) = podman(image, &["image", "mount"])? else {
        return Ok((String::new(), String::new()));
    };
    let read = |name: &str| read_within(Path::new(&at), name);
    let texts = (read("etc/passwd"), read("etc/group"));
    podman(image, &["image", "unmount"])?;
    Ok(texts)
}

/// Reads a file of an image, in which links lead nowhere but into the image.
fn read_within(root: &Path, name: &str) -> String {
    /// More than any such file has.
    const MOST: u64 = 4 * 1024 * 1024;
    let read = || -> io::Result<String> {
        let root =
            fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::openat2(root.as_fd(), name, flags, Mode::empty(), resolve)?;
        let mut bytes = Vec::new();
        std::fs::File::from(file).take(MOST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // An image need not have them; then it knows no names.
    read().unwrap_or_default()
}

/// Frames on standard input and output.
struct Pipes<R, W> {
    input: R,
    output: W,
}

impl<R: Read, W: Write> Pipes<R, W> {
    fn take(&mut self) -> Result<pb::FileFrame, WireError> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length).map_err(|_| WireError)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| WireError)?;
        if length > LONGEST {
            return Err(WireError);
        }
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes).map_err(|_| WireError)?;
        pb::FileFrame::decode(bytes.as_slice()).map_err(|_| WireError)
    }

    fn put(&mut self, frame: Wire) -> Result<(), WireError> {
        let bytes = framed(&pb::FileFrame { frame: Some(frame) });
        let written = self.output.write_all(&bytes).and_then(|()| self.output.flush());
        written.map_err(|_| WireError)
    }

    fn start(&mut self, ids: Ids, notes: Vec<String>) -> Result<(), TransferError> {
        let Ids { user, group } = ids;
        let start = pb::FilesStart { user, group, notes, ..pb::FilesStart::default() };
        Ok(self.put(Wire::Start(start))?)
    }
}

impl<R: Read, W: Write> transfer::Wire for Pipes<R, W> {
    fn send(&mut self, frame: Frame) -> Result<(), WireError> {
        match pb::FileFrame::from(frame).frame {
            Some(frame) => self.put(frame),
            None => Err(WireError),
        }
    }

    fn receive(&mut self) -> Result<Frame, WireError> {
        Frame::try_from(self.take()?).map_err(|_| WireError)
    }
}

/// Returns a frame with its length before it.
pub(super) fn framed(frame: &pb::FileFrame) -> Vec<u8> {
    let length = frame.encoded_len();
    let mut bytes = Vec::with_capacity(length + 4);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(frame.encode_to_vec());
    bytes
}
