# The three programs, their manual pages and completions.
{
  lib,
  rustPlatform,
  installShellFiles,
  stdenv,
}:

let
  root = ../..;
  cargo = (lib.importTOML (root + "/Cargo.toml")).package;
in
rustPlatform.buildRustPackage {
  pname = cargo.name;
  inherit (cargo) version;

  # What the build reads, so that a change of a document builds nothing anew.
  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions (
      map (path: root + path) [
        "/Cargo.toml"
        "/Cargo.lock"
        "/build.rs"
        "/src"
        "/templates"
        "/proto"
        "/examples"
        "/tests/it"
      ]
    );
  };
  cargoLock.lockFile = root + "/Cargo.lock";

  # The tests of the units run here; those of whole machines are the project's
  # lab and `checks` of the flake.
  cargoTestFlags = [ "--lib" ];

  nativeBuildInputs = [ installShellFiles ];
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    for program in mcp mcp-agent mcp-master; do
      $out/bin/$program man --out man
    done
    installManPage man/*
    installShellCompletion --cmd mcp \
      --bash <($out/bin/mcp completions bash) \
      --fish <($out/bin/mcp completions fish) \
      --zsh <($out/bin/mcp completions zsh)
  '';

  meta = {
    inherit (cargo) description;
    homepage = cargo.repository;
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
    mainProgram = "mcp";
  };
}
