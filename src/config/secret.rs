//! A setting of a plugin as written: its text, or the place of a secret.

use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

use super::fields::{Findings, Shape};
use super::table::table;
use super::values::{CredentialName, PathText, PluginSetting, VariableName};

table! {
    /// A secret of `[plugins.NAME.config]`: the one place where it is kept.
    RawSecret {
        file: PathText,
        credential: CredentialName,
        env: VariableName,
    }
}
/// A setting of a plugin: its text, or the place of a secret.
pub(super) enum RawSetting {
    Text(String),
    Secret(Spanned<RawPlace>),
}

/// The place where a secret is kept.
pub(super) enum RawPlace {
    File(PathText),
    Credential(CredentialName),
    Variable(VariableName),
}

impl Shape for RawSetting {
    fn read(at: &str, value: &Spanned<DeValue<'_>>, findings: &mut Findings) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            return PluginSetting::read(at, value, findings).map(|text| Self::Text(text.0));
        };
        let is_empty = table.is_empty();
        let RawSecret { file, credential, env } = RawSecret::read(at, value, findings)?;
        let places =
            [file.map(RawPlace::File), credential.map(RawPlace::Credential), env.map(RawPlace::Variable)];
        let mut places: Vec<_> = places.into_iter().flatten().collect();
        places.sort_by_key(|place| place.span().start);
        let advice = "write one of { file = \"PATH\" }, { credential = \"NAME\" } and { env = \"NAME\" }";
        if let [first, second, ..] = places.as_slice() {
            let fault = findings.error(format!("`{at}`: a secret is kept in one place"));
            fault.at(second.span(), "this is another").at(first.span(), "this is one").help(advice).done();
            return None;
        }
        if is_empty {
            let fault = findings.error(format!("`{at}`: expected a string, or the place of a secret"));
            fault.at(value.span(), "this names no place").help(advice).done();
        }
        places.pop().map(Self::Secret)
    }

    fn schema() -> Value {
        let mut secret = RawSecret::schema();
        (secret["minProperties"], secret["maxProperties"]) = (1.into(), 1.into());
        json!({ "anyOf": [PluginSetting::schema(), secret] })
    }
}
