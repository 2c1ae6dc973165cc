# As much of nixpkgs' `lib` as the modules use, so that they are evaluated
# where there is no nixpkgs. Where there is, take that one:
#
#   nix-instantiate --eval --strict --json tests/nix/eval.nix -A options \
#     --arg lib 'import <nixpkgs/lib>'
let
  fail = path: message: throw "${builtins.concatStringsSep "." path}: ${message}";
  type = name: check: {
    inherit name;
    description = name;
    merge =
      path: value:
      if check value then value else fail path "${builtins.toJSON value} is no ${name}";
  };

  # The value of an option, or of a table of options, from what was defined.
  resolve =
    path: options: defined:
    let
      unknown = builtins.attrNames (removeAttrs defined (builtins.attrNames options));
    in
    if unknown != [ ] then
      fail path "no option ${builtins.toString unknown}"
    else
      builtins.mapAttrs (
        name: option:
        let
          inner = path ++ [ name ];
        in
        if (option._type or "") != "option" then
          resolve inner option (defined.${name} or { })
        else if defined ? ${name} then
          option.type.merge inner defined.${name}
        else if option ? default then
          option.type.merge inner option.default
        else
          fail inner "is required"
      ) options;

  # What mkIf, mkAfter and // leave of a configuration.
  discharge =
    value:
    if !(builtins.isAttrs value) then
      value
    else if (value._type or "") == "if" then
      if value.condition then discharge value.content else null
    else if value ? outPath then
      value
    else
      lib.filterAttrs (_: inner: inner != null) (builtins.mapAttrs (_: discharge) value);

  lib = rec {
    inherit resolve discharge;
    filterAttrs =
      keep: set:
      removeAttrs set (builtins.filter (name: !(keep name set.${name})) (builtins.attrNames set));
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    last = values: builtins.elemAt values (builtins.length values - 1);
    splitString = at: text: builtins.filter builtins.isString (builtins.split at text);
    toInt = builtins.fromJSON;
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkAfter = content: content;
    mkOption = option: option // { _type = "option"; };
    mkEnableOption =
      what:
      mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    types = {
      bool = type "boolean" builtins.isBool;
      str = type "string" builtins.isString;
      package = type "package" (value: value ? outPath);
      strMatching =
        pattern:
        type "string matching the pattern ${pattern}" (
          value: builtins.isString value && builtins.match pattern value != null
        );
      enum =
        values:
        type "one of ${builtins.concatStringsSep ", " (map builtins.toJSON values)}" (
          value: builtins.elem value values
        );
      ints = {
        positive = type "positive integer" (value: builtins.isInt value && value > 0);
        between =
          low: high:
          type "integer between ${toString low} and ${toString high}" (
            value: builtins.isInt value && low <= value && value <= high
          );
      };
      nullOr =
        inner:
        inner
        // {
          description = "null or ${inner.description}";
          merge = path: value: if value == null then null else inner.merge path value;
        };
      listOf = inner: {
        description = "list of ${inner.description}";
        nested = inner.nested or null;
        merge =
          path: value:
          if builtins.isList value then
            map (inner.merge path) value
          else
            fail path "${builtins.toJSON value} is no list";
      };
      nonEmptyListOf = inner: {
        description = "non-empty list of ${inner.description}";
        merge =
          path: value:
          if builtins.isList value && value != [ ] then
            map (inner.merge path) value
          else
            fail path "${builtins.toJSON value} is no list with something in it";
      };
      submodule = module: {
        description = "submodule";
        nested = module.options;
        merge = path: resolve path module.options;
      };
    };
  };
in
lib
