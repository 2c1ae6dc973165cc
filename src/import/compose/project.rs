//! The files of a compose project, read into one tree: variables filled in,
//! paths absolute, `include` and `extends` written out.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::dotenv;
use super::interpolate::{Variables, fill};
use super::merge::merge;
use super::yaml::{BadYaml, Key, Mark, Node, Value, parse};
use crate::import::files::{Files, absolute, directory};
use crate::import::note::{Notes, Place};

/// How deep files may include and services extend each other.
const MAX_DEPTH: usize = 16;
/// The most files that are read.
const MAX_FILES: usize = 200;

/// What the operator says besides the files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of the service, in place of the project's.
    pub name: Option<String>,
    /// Profiles whose services are wanted; `*` is all of them.
    pub profiles: Vec<String>,
    /// Files of variables in place of `.env`, absolute.
    pub env_files: Vec<String>,
    /// Variables that win over everything.
    pub set: BTreeMap<String, String>,
    /// Variables of the shell: they win over files.
    pub shell: BTreeMap<String, String>,
    /// The home directory.
    pub home: String,
}

/// Why a compose file is not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ComposeError {
    /// No YAML.
    #[error(transparent)]
    Yaml(#[from] BadYaml),
    /// A file that was named cannot be read.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Something is not as compose has it.
    #[error("{place}: {message}")]
    Wrong {
        /// Where.
        place: Place,
        /// What.
        message: String,
    },
    /// Variables that the files want set are not.
    #[error("{}", .0.join("\n"))]
    Required(Vec<String>),
    /// What should name images does not, mostly for want of a variable.
    #[error("{}", .0.join("\n"))]
    Images(Vec<String>),
    /// Nothing can be made of it.
    #[error(transparent)]
    Unfinished(#[from] crate::import::Unfinished),
}

/// A project.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) root: Node,
    /// The directory of the first file.
    pub(super) directory: String,
    pub(super) variables: Variables,
    /// The variables of services that were included, by their names.
    pub(super) included: BTreeMap<String, Rc<Variables>>,
    /// The files that were read, besides those that were named.
    pub(super) read: Vec<String>,
}

pub(super) struct Loader<'a> {
    files: &'a mut dyn Files,
    notes: &'a mut Notes,
    home: &'a str,
    variables: Variables,
    required: Vec<String>,
    read: Vec<String>,
    /// Files as they are under the variables of an inclusion, by its number,
    /// and relative to a directory.
    trees: BTreeMap<(String, String, usize), Node>,
    /// The number of the inclusion that is read; 0 is the project itself.
    inclusion: usize,
    /// How many there were.
    inclusions: usize,
    included: BTreeMap<String, Rc<Variables>>,
}

/// Reads the files of a project, later ones laid over earlier ones.
///
/// # Errors
///
/// [`ComposeError`].
pub(super) fn load(
    paths: &[String],
    files: &mut dyn Files,
    options: &Options,
    notes: &mut Notes,
) -> Result<Project, ComposeError> {
    let directory = paths.first().map_or("/", |path| directory(path)).to_owned();
    let mut loader = Loader {
        files,
        notes,
        home: &options.home,
        variables: Variables { known: options.shell.clone() },
        required: Vec::new(),
        read: Vec::new(),
        trees: BTreeMap::new(),
        inclusion: 0,
        inclusions: 0,
        included: BTreeMap::new(),
    };
    loader.variables(&directory, options)?;
    let mut root: Option<Node> = None;
    for path in paths {
        let tree = loader.file(path, &directory, &mut vec![path.clone()])?;
        root = Some(match root {
            None => tree,
            Some(base) => merge(&[], base, tree),
        });
    }
    let Some(mut root) = root else {
        return Err(ComposeError::Unreadable {
            path: directory,
            reason: "no file was named".to_owned(),
        });
    };
    loader.extend_all(&mut root)?;
    if !loader.required.is_empty() {
        return Err(ComposeError::Required(loader.required));
    }
    let Loader { variables, included, read, .. } = loader;
    Ok(Project { root, directory, variables, included, read })
}

pub(super) fn wrong(place: &Place, message: impl Into<String>) -> ComposeError {
    ComposeError::Wrong { place: place.clone(), message: message.into() }
}

impl Loader<'_> {
    fn variables(&mut self, directory: &str, options: &Options) -> Result<(), ComposeError> {
        let dotenv = [format!("{directory}/.env")];
        let (paths, named) = match options.env_files.as_slice() {
            [] => (&dotenv[..], false),
            paths => (paths, true),
        };
        self.env_files(paths, named)?;
        self.variables.known.extend(options.set.clone());
        Ok(())
    }

    /// Adds the variables of files that are not known yet.
    fn env_files(&mut self, paths: &[String], named: bool) -> Result<(), ComposeError> {
        let mut from_files: BTreeMap<String, String> = BTreeMap::new();
        for path in paths {
            let Some(text) = self.text(path, named)? else { continue };
            // What a file before says is known, and what was known wins.
            let mut outer = Variables { known: from_files.clone() };
            outer.known.extend(self.variables.known.clone());
            let lines = dotenv::parse(&text, &outer).map_err(|bad| {
                let place = Place { file: path.as_str().into(), line: bad.number, column: 1 };
                wrong(&place, bad.message)
            })?;
            from_files.extend(lines.into_iter().filter_map(|line| Some((line.name, line.value?))));
        }
        for (name, value) in from_files {
            self.variables.known.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// Reads a file; one that was not named may be missing.
    fn text(&mut self, path: &str, named: bool) -> Result<Option<String>, ComposeError> {
        let unreadable =
            |reason: String| ComposeError::Unreadable { path: path.to_owned(), reason };
        if self.read.len() >= MAX_FILES {
            return Err(unreadable(format!("more than {MAX_FILES} files are named")));
        }
        let text = self.files.text(path).map_err(unreadable)?;
        match &text {
            Some(_) if !self.read.iter().any(|read| read == path) => {
                self.read.push(path.to_owned());
            }
            None if named => return Err(unreadable("there is no such file".to_owned())),
            Some(_) | None => {}
        }
        Ok(text)
    }

    /// Reads one file with what it includes; `stack` holds the files that are
    /// being read.
    fn file(
        &mut self,
        path: &str,
        directory: &str,
        stack: &mut Vec<String>,
    ) -> Result<Node, ComposeError> {
        let mut tree = self.tree(path, directory)?;
        let included = match &mut tree.value {
            Value::Map(pairs) => {
                pairs.iter().position(|(key, _)| key.text == "include").map(|at| pairs.remove(at).1)
            }
            Value::Scalar { .. } | Value::List(_) => {
                return Err(wrong(&tree.place, "a compose file is a mapping"));
            }
        };
        let mut root: Option<Node> = None;
        for item in included.iter().flat_map(|node| node.list().unwrap_or_default()) {
            if let Some(own) = self.included(item, directory, stack)? {
                root = Some(match root {
                    None => own,
                    Some(base) => merge(&[], base, own),
                });
            }
        }
        Ok(match root {
            None => tree,
            Some(base) => merge(&[], base, tree),
        })
    }

    /// Reads one inclusion, under variables of its own: nothing is left in it
    /// that would be looked up in those of the project.
    fn included(
        &mut self,
        item: &Node,
        directory: &str,
        stack: &mut Vec<String>,
    ) -> Result<Option<Node>, ComposeError> {
        let before = (self.variables.clone(), self.inclusion);
        self.inclusions += 1;
        self.inclusion = self.inclusions;
        let own = self.enter(item, directory)?;
        let mut root: Option<Node> = None;
        for (relative, place) in item.get("path").unwrap_or(item).texts() {
            let path = absolute(directory, self.home, relative);
            if stack.contains(&path) || stack.len() >= MAX_DEPTH {
                return Err(wrong(place, format!("{path} is included within itself")));
            }
            stack.push(path.clone());
            let tree = self.file(&path, &own, stack)?;
            stack.pop();
            root = Some(match root {
                None => tree,
                Some(base) => merge(&[], base, tree),
            });
        }
        if let Some(root) = &mut root {
            self.extend_all(root)?;
            let variables = Rc::new(self.variables.clone());
            let services = root.get("services").and_then(Node::map).unwrap_or_default();
            for (key, _) in services {
                // What it includes itself has its own already.
                self.included.entry(key.text.clone()).or_insert_with(|| Rc::clone(&variables));
            }
        }
        (self.variables, self.inclusion) = before;
        Ok(root)
    }

    /// Returns the directory of a project that is included, and has its own
    /// variables known as well.
    fn enter(&mut self, item: &Node, directory: &str) -> Result<String, ComposeError> {
        let here = |path: &str| absolute(directory, self.home, path);
        let paths = item.get("path").unwrap_or(item).texts();
        let first = paths.first().map(|(path, _)| here(path));
        let own = match item.get("project_directory").and_then(Node::text) {
            Some(named) => here(named),
            None => self::directory(first.as_deref().unwrap_or_default()).to_owned(),
        };
        match item.get("env_file").map(Node::texts).filter(|named| !named.is_empty()) {
            Some(named) => {
                // The device stands for no file at all.
                let named = named.iter().filter(|(path, _)| *path != "/dev/null");
                let named: Vec<String> = named.map(|(path, _)| here(path)).collect();
                self.env_files(&named, true)?;
            }
            None => self.env_files(&[format!("{own}/.env")], false)?,
        }
        Ok(own)
    }

    /// Reads one file, fills its variables in and makes its paths absolute.
    fn tree(&mut self, path: &str, directory: &str) -> Result<Node, ComposeError> {
        let key = (path.to_owned(), directory.to_owned(), self.inclusion);
        if let Some(tree) = self.trees.get(&key) {
            return Ok(tree.clone());
        }
        if self.trees.len() >= MAX_FILES {
            let reason = format!("more than {MAX_FILES} files are named");
            return Err(ComposeError::Unreadable { path: path.to_owned(), reason });
        }
        let text = self.text(path, true)?.unwrap_or_default();
        let mut tree = parse(path, &text)?;
        self.fill(&mut tree)?;
        rebase(&mut tree, directory, self.home);
        self.trees.insert(key, tree.clone());
        Ok(tree)
    }

    fn fill(&mut self, node: &mut Node) -> Result<(), ComposeError> {
        match &mut node.value {
            Value::Scalar { text, .. } if text.contains('$') => {
                let filled =
                    fill(text, &self.variables).map_err(|message| wrong(&node.place, message))?;
                for name in filled.unset {
                    self.notes.add_unset(&node.place, &name);
                }
                for (name, message) in filled.required {
                    let message =
                        if message.is_empty() { String::new() } else { format!(": {message}") };
                    self.required.push(format!("{}: {name} must be set{message}", node.place));
                }
                *text = filled.text;
                node.mark.get_or_insert(Mark::Filled);
                Ok(())
            }
            Value::Scalar { .. } => Ok(()),
            Value::List(items) => items.iter_mut().try_for_each(|item| self.fill(item)),
            Value::Map(pairs) => pairs.iter_mut().try_for_each(|(_, node)| self.fill(node)),
        }
    }

    fn extend_all(&mut self, root: &mut Node) -> Result<(), ComposeError> {
        let whole = root.clone();
        let Value::Map(pairs) = &mut root.value else { return Ok(()) };
        let Some((_, services)) = pairs.iter_mut().find(|(key, _)| key.text == "services") else {
            return Ok(());
        };
        let Value::Map(services) = &mut services.value else { return Ok(()) };
        for (key, service) in services {
            let mut stack = vec![(String::new(), key.text.clone())];
            *service = self.extended(service.clone(), &whole, &mut stack)?;
        }
        Ok(())
    }

    /// Lays a service over the one that it extends; `stack` holds the services
    /// that are being extended, by file.
    fn extended(
        &mut self,
        mut service: Node,
        root: &Node,
        stack: &mut Vec<(String, String)>,
    ) -> Result<Node, ComposeError> {
        let Value::Map(pairs) = &mut service.value else { return Ok(service) };
        let Some(at) = pairs.iter().position(|(key, _)| key.text == "extends") else {
            return Ok(service);
        };
        let (Key { place, .. }, extends) = pairs.remove(at);
        let name = extends.get("service").unwrap_or(&extends).text().unwrap_or_default().to_owned();
        let file = extends.get("file").and_then(Node::text).map(str::to_owned);
        let owner = stack.last().map(|(file, _)| file.clone()).unwrap_or_default();
        let entry = (file.clone().unwrap_or(owner), name.clone());
        if stack.contains(&entry) || stack.len() >= MAX_DEPTH {
            return Err(wrong(&place, format!("the service {name} extends itself")));
        }
        let other;
        let root = match &file {
            None => root,
            Some(path) => {
                let own = directory(path).to_owned();
                other = self.tree(path, &own)?;
                &other
            }
        };
        let base = root.get("services").and_then(|services| services.get(&name)).cloned();
        let Some(base) = base else {
            return Err(wrong(&place, format!("there is no service {name} to extend")));
        };
        stack.push(entry);
        let base = self.extended(base, root, stack)?;
        stack.pop();
        Ok(merge(&["services", ""], base, service))
    }
}

/// Makes the paths of one file absolute, before it is laid over others.
fn rebase(tree: &mut Node, directory: &str, home: &str) {
    let here = |path: &str| absolute(directory, home, path);
    let Value::Map(sections) = &mut tree.value else { return };
    for (section, node) in sections {
        let Value::Map(entries) = &mut node.value else { continue };
        for (_, entry) in entries {
            match section.text.as_str() {
                "services" => rebase_service(entry, &here),
                "secrets" | "configs" => rebase_key(entry, "file", &here),
                _ => {}
            }
        }
    }
}

fn rebase_service(service: &mut Node, here: &dyn Fn(&str) -> String) {
    let Value::Map(pairs) = &mut service.value else { return };
    for (key, node) in pairs {
        match key.text.as_str() {
            "volumes" => {
                let Value::List(items) = &mut node.value else { continue };
                for item in items {
                    rebase_volume(item, here);
                }
            }
            "env_file" => match &mut node.value {
                Value::Scalar { text, .. } => *text = here(text),
                Value::List(items) => {
                    for item in items {
                        match &mut item.value {
                            Value::Scalar { text, .. } => *text = here(text),
                            Value::Map(_) | Value::List(_) => rebase_key(item, "path", here),
                        }
                    }
                }
                Value::Map(_) => rebase_key(node, "path", here),
            },
            "build" => match &mut node.value {
                Value::Scalar { text, .. } if !text.contains("://") => *text = here(text),
                Value::Scalar { .. } | Value::List(_) => {}
                Value::Map(_) => rebase_key(node, "context", here),
            },
            "extends" => rebase_key(node, "file", here),
            _ => {}
        }
    }
}

fn rebase_volume(item: &mut Node, here: &dyn Fn(&str) -> String) {
    if let Value::Scalar { text, .. } = &mut item.value {
        if let Some((source, rest)) = text.split_once(':')
            && source.starts_with(['.', '~'])
        {
            *text = format!("{}:{rest}", here(source));
        }
    } else if item.get("type").and_then(Node::text) == Some("bind") {
        rebase_key(item, "source", here);
    }
}

fn rebase_key(node: &mut Node, key: &str, here: &dyn Fn(&str) -> String) {
    let Value::Map(pairs) = &mut node.value else { return };
    for (own, node) in pairs {
        if own.text == key
            && let Value::Scalar { text, .. } = &mut node.value
            && !text.contains("://")
            && !text.is_empty()
        {
            *text = here(text);
        }
    }
}
