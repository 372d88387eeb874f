//! The types that are written as strings: their forms, their names in messages, and advice.

use super::address::{AdminListen, HealthListen, Listen, TlsListen};
use super::fields::Text;
use super::form::Written::{self, Freely, Like, OneOf};
use super::form::like;
use super::names::{ClientName, CommandName, PluginName, RoleName};
use super::resources::{EventGrant, GuestFolder, HttpPrefix, Network, StoreGrant};
use super::telemetry::CollectorUrl;
use super::values::{
    CredentialName, Digest, IncludePattern, Instances, LogFormat, LogLevel, PathText, PinText, PluginSetting,
    SettingName, StateEngine, TlsVersion, UriText, VariableName,
};
use crate::authz::PermissionPattern;
use crate::units::{ByteSize, SizeOrPart, TimeSpan};

macro_rules! texts {
    ($($type:ty: $written:expr, $wanted:literal, $advice:literal;)*) => {
        $(impl Text for $type {
            const WRITTEN: Written = $written;
            const WANTED: &'static str = $wanted;
            const ADVICE: &'static str = $advice;
        })*
    };
}

texts! {
    Listen: Like(like::ADDRESS), "an address and a port", "write a string, such as \"127.0.0.1:4888\"";
    TlsListen: Like(like::ADDRESS), "an address and a port", "write a string, such as \"0.0.0.0:4889\"";
    HealthListen: Like(like::ADDRESS), "an address and a port", "write a string, such as \"0.0.0.0:4890\"";
    AdminListen: Like(like::ADMIN_ADDRESS), "a socket, or a loopback address", "write a string, such as \"unix:run/admin.sock\"";
    IncludePattern: Like(like::INCLUDE), "the path of a file, or a pattern", "write it in double quotes, such as \"conf.d/*.toml\"";
    PathText: Like(like::PATH), "the path of a file", "write it in double quotes";
    Digest: Like(like::DIGEST), "a SHA-256", "write its 64 hexadecimal digits in double quotes";
    EventGrant: Like(like::TOPIC), "a topic", "write a string, such as \"jobs/done\" or \"jobs/*\"";
    HttpPrefix: Like(like::URL), "a URL", "write a string, such as \"https://api.example.com\", or { url = \"https://db.internal\", networks = [\"10.1.0.0/16\"] }";
    CollectorUrl: Like(like::URL), "a URL", "write a string, such as \"http://127.0.0.1:4318\"";
    PinText: Like(like::THUMBPRINT), "a certificate's thumbprint", "write its hexadecimal digits in double quotes";
    UriText: Like(like::URI), "the URI of a client", "write it in double quotes, such as \"spiffe://example.org/laptop\"";
    ClientName: Written::Named(like::NAME), "a client's name", "write it in double quotes";
    RoleName: Written::Named(like::NAME), "a role's name", "write it in double quotes";
    PluginName: Written::Named(like::NAME), "a plugin's name", "write it in double quotes";
    StoreGrant: Like(like::STORE), "a store's name", "write it in double quotes, such as \"default\" or \"PLUGIN/default\"";
    Network: Like(like::NETWORK), "a network", "write it in double quotes, such as \"10.1.0.0/16\"";
    GuestFolder: Like(like::FOLDER), "a folder's name for the plugin", "write it in double quotes, such as \"/data\"";
    CommandName: Written::Named(like::COMMAND), "a command's name", "write it in double quotes";
    PermissionPattern: Like(like::PERMISSION), "a command or a pattern", "write it in double quotes, such as \"echo\" or \"kv-*\"";
    TlsVersion: OneOf(TlsVersion::WORDS), "a version of TLS", "write \"1.3\" or \"1.2\", in double quotes";
    Instances: OneOf(Instances::WORDS), "a way to keep instances", "write \"per-request\", \"per-client\" or \"shared\"";
    LogLevel: OneOf(LogLevel::WORDS), "a level", "write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
    LogFormat: OneOf(LogFormat::WORDS), "a format", "write \"auto\", \"human\" or \"json\"";
    StateEngine: OneOf(StateEngine::WORDS), "an engine", "write \"memory\" or \"sqlite\"";
    SettingName: Freely, "a key", "write it in double quotes";
    PluginSetting: Freely, "a string", "put the value in double quotes: plugins read text";
    CredentialName: Like(like::CREDENTIAL), "a credential's name", "write it in double quotes";
    VariableName: Like(like::VARIABLE), "a variable's name", "write it in double quotes";
}

impl Text for TimeSpan {
    const WRITTEN: Written = Like(like::DURATION);
    const WANTED: &'static str = "a duration";
    const ADVICE: &'static str = "write a string of a number and its unit, such as \"1s\"";
    const HAS_UNIT: bool = true;
}

impl Text for ByteSize {
    const WRITTEN: Written = Like(like::SIZE);
    const WANTED: &'static str = "a size";
    const ADVICE: &'static str = "write a string of a number and its unit, such as \"64MiB\"";
    const HAS_UNIT: bool = true;
}

impl Text for SizeOrPart {
    const WRITTEN: Written = Like(like::SIZE_OR_PART);
    const WANTED: &'static str = "a size or a part";
    const ADVICE: &'static str = "write a string, such as \"800MiB\" or \"80%\"";
    const HAS_UNIT: bool = true;
}
