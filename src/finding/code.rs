//! The kinds of findings. Their codes stay the same over releases: they may be searched for, and scripts rely on them.

use serde::{Serialize, Serializer};
use std::fmt;

/// Whether a finding makes the file unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not say what its author meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Declares the codes with their texts and severities. `Refusal` is an error in a file that can still be read.
macro_rules! codes {
    ($( #[doc = $about:literal] $name:ident = $text:literal $class:ident ),* $(,)?) => {
        /// The kind of a finding; stable over releases.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $( #[doc = $about] $name ),* }
        impl Code {
            /// All codes, in the order of their texts.
            pub const ALL: &[Self] = &[$( Self::$name ),*];
            /// The code as it is printed, `S001` and so on.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$name => $text ),* }
            }
            /// What is wrong, in one sentence.
            pub fn summary(self) -> &'static str {
                match self { $( Self::$name => $about ),* }.trim_ascii()
            }
            /// How bad such a finding is; a single one may be less bad, where it is not certain.
            pub fn severity(self) -> Severity {
                match self { $( Self::$name => codes!(@severity $class) ),* }
            }
            /// Whether the file can be read all the same: no scheduler deploys what it says, and one that runs an
            /// older configuration goes on with that.
            pub fn is_refusal(self) -> bool {
                match self { $( Self::$name => codes!(@refusal $class) ),* }
            }
        }
    };
    (@severity Warning) => { Severity::Warning };
    (@severity $error:ident) => { Severity::Error };
    (@refusal Refusal) => { true };
    (@refusal $other:ident) => { false };
}

codes! {
    /// An address without encryption at a host outside of the cluster.
    PlainHttp = "A001" Warning,
    /// A fixed address of a host outside of the cluster.
    ForeignHost = "A002" Warning,
    /// An image that no option can replace.
    FixedImage = "A003" Warning,
    /// A file is not there, cannot be read or is too large.
    Unreadable = "P001" Error,
    /// A file is not UTF-8.
    NotUtf8 = "P002" Error,
    /// A file is not JSON.
    NotJson = "P003" Error,
    /// A file is JSON, but not an object.
    NotObject = "P004" Error,
    /// A JSON object has a key twice.
    DuplicateField = "P005" Warning,
    /// A file that the catalog wants in ASCII has other characters.
    NotAscii = "P006" Error,
    /// A required field of package.json or resource.json is missing.
    MissingField = "P010" Error,
    /// The packaging version has no such field.
    UnknownField = "P011" Error,
    /// A field has a value of the wrong type.
    FieldType = "P012" Error,
    /// A field has a value that is not allowed.
    FieldValue = "P013" Error,
    /// A command.json that should not be there, or that is missing.
    CommandFile = "P014" Error,
    /// The package is in another folder of the catalog than its name says.
    CatalogFolder = "P015" Error,
    /// config.json is not a JSON Schema.
    ConfigSchema = "P020" Error,
    /// A default that config.json itself does not allow.
    DefaultRefused = "P021" Error,
    /// An option that is required and has no default.
    RequiredOption = "P022" Error,
    /// An option that the template does not use.
    UnusedOption = "P023" Warning,
    /// Options that the user gave are not allowed.
    OptionRefused = "P024" Error,
    /// An option on the command line is not `NAME=VALUE`.
    OptionSyntax = "P025" Error,
    /// The template cannot be parsed, or rendered in bounds.
    TemplateSyntax = "P030" Error,
    /// A name in the template that stands for nothing.
    UnknownName = "P031" Warning,
    /// What the template renders to is not JSON.
    AppNotJson = "P033" Error,
    /// What the template renders to is JSON, but not an app.
    AppShape = "P034" Error,
    /// The package has no template, so there is no app.
    NoTemplate = "P036" Error,
    /// A field of the app has a value of a type that Marathon does not take.
    AppType = "P040" Error,
    /// A field of the app has a value that Marathon does not take.
    AppValue = "P041" Error,
    /// Fields of the app that Marathon does not take together, or not without each other.
    AppConflict = "P042" Error,
    /// The app names a port or a secret that it does not have.
    AppReference = "P043" Error,
    /// Marathon knows no such field of apps.
    UnknownAppField = "P044" Warning,
    /// A variable of the scheduler has a value that it cannot read.
    SchedulerVariable = "P045" Error,
    /// The app lacks a label that DC/OS needs.
    MissingLabel = "P060" Warning,
    /// A label has a value that DC/OS cannot use.
    LabelValue = "P061" Warning,
    /// A label that the package service overwrites.
    OverwrittenLabel = "P062" Warning,
    /// An artifact that the package names is not there.
    NoArtifact = "P090" Error,
    /// Parameters of the build lead to each other, or make a file too long.
    ParameterLoop = "P091" Error,
    /// A stub universe that is none.
    StubShape = "P092" Error,
    /// A parameter of the build has no value.
    NoValue = "P093" Error,
    /// A hash cannot be taken from the list that others publish.
    NoListedHash = "P094" Error,
    /// The file is not YAML.
    Syntax = "S001" Error,
    /// A key is there twice.
    DuplicateKey = "S002" Error,
    /// The file is too large, too deep, grows too much by aliases, or launches too many tasks.
    Limit = "S003" Error,
    /// The file holds more than one YAML document, or none.
    Document = "S004" Error,
    /// A list, a mapping or a scalar is where another of them is expected.
    Shape = "S005" Error,
    /// The service language has no such key.
    UnknownKey = "S006" Error,
    /// A key in a pod that has no effect.
    IgnoredKey = "S007" Warning,
    /// A required key is missing.
    Missing = "S008" Error,
    /// Not a number, not an integer or not a boolean.
    ScalarType = "S009" Error,
    /// A number outside of its range.
    OutOfRange = "S010" Error,
    /// Not one of the words that are allowed.
    NotOneOf = "S011" Error,
    /// A text that has not the form that is required.
    Form = "S012" Error,
    /// Keys that exclude each other.
    Conflict = "S013" Error,
    /// A name of something that does not exist.
    NoSuch = "S014" Error,
    /// A value that must be unique and is not.
    NotUnique = "S015" Error,
    /// An empty text, list or mapping.
    Empty = "S016" Error,
    /// A config template that cannot be read.
    ConfigTemplate = "S017" Error,
    /// A placement constraint that means nothing.
    Placement = "S018" Refusal,
    /// A plan or a step that could never be carried out.
    Plan = "S019" Error,
    /// A part of the file that has no effect.
    NoEffect = "S020" Warning,
    /// A spelling of older releases.
    OldSpelling = "S021" Warning,
    /// A dynamic port that its task cannot learn.
    UnseenPort = "S022" Warning,
    /// A resource limit below the request.
    LimitBelowRequest = "S023" Refusal,
    /// A name in the template that no value was given for.
    MissingValue = "S024" Warning,
    /// A value that is not what it was after it was rendered.
    EscapedValue = "S025" Warning,
    /// A name that addresses cannot hold.
    LongName = "S026" Refusal,
    /// The service file is not a Mustache template.
    ServiceTemplate = "S027" Error,
    /// A name in a config template that the task has no variable for.
    MissingVariable = "S028" Warning,
    /// Tasks of one step that cannot run at the same time.
    StepConflict = "S030" Refusal,
    /// Variables of the scheduler that reach more pods than they name.
    SharedPrefix = "S031" Warning,
    /// Something that no agent can provide.
    NeverPlaced = "S032" Warning,
    /// A network that DC/OS does not bring along.
    OtherNetwork = "S033" Warning,
    /// A service that its scheduler does not deploy in this configuration.
    NotDeployed = "S034" Error,
    /// More findings than are worth a look.
    TooMany = "S099" Error,
    /// What is at the URL of a repository is not taken by the package service.
    NotRepository = "V001" Error,
    /// A file that a published package names cannot be had.
    Unreachable = "V002" Error,
    /// A published file has another hash than the package says.
    WrongHash = "V003" Error,
    /// A published file is empty, or its size is not known.
    FileSize = "V004" Error,
    /// A list of hashes that cannot be read.
    HashList = "V005" Error,
    /// Nothing says what a published file should be.
    NoHash = "V006" Warning,
    /// A file that is not in the list of those that were published.
    Unlisted = "V007" Warning,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
