//! The rules for package.json, resource.json and command.json as JSON Schemas, by packaging version.

use serde_json::{Value, json};

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

/// The rules for package.json as a JSON Schema.
pub fn package_rules(version: u8) -> Value {
    let text = json!({"type": "string"});
    let flag = json!({"type": "boolean"});
    let mut properties = json!({
        "packagingVersion": {"enum": ["2.0", "3.0", "4.0", "5.0"]},
        "name": text, "version": text, "maintainer": text, "description": text,
        "tags": {"type": "array", "items": {"type": "string", "pattern": r"^[^\s]+$"}},
        "scm": text, "website": text, "framework": flag, "selected": flag,
        "preInstallNotes": text, "postInstallNotes": text, "postUninstallNotes": text,
        "licenses": {"type": "array", "items": {
            "type": "object",
            "properties": {"name": text, "url": {"type": "string", "pattern": "^https?://"}},
            "required": ["name", "url"],
            "additionalProperties": false,
        }},
    });
    if version >= 3 {
        properties["name"] = json!({"type": "string", "pattern": "^[a-z][a-z0-9-]*[a-z0-9]$"});
        properties["version"] = json!({"type": "string", "pattern": "^[-a-zA-Z0-9.]+$"});
        properties["minDcosReleaseVersion"] =
            json!({"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$"});
        properties["hasKnownIssues"] = flag;
        properties["lastUpdated"] = json!({"type": "number"});
    }
    if version >= 4 {
        properties["upgradesFrom"] = texts();
        properties["downgradesTo"] = texts();
    }
    if version >= 5 {
        properties["manager"] = json!({
            "type": "object",
            "properties": {"packageName": text, "minPackageVersion": text},
            "required": ["packageName"],
            "additionalProperties": false,
        });
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["packagingVersion", "name", "version", "maintainer", "description", "tags"],
        "additionalProperties": false,
    })
}

/// The rules for resource.json as a JSON Schema.
pub fn resource_rules(version: u8) -> Value {
    let named_texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let text = json!({"type": "string"});
    let mut properties = json!({
        "assets": {
            "type": "object",
            "properties": {
                "uris": named_texts,
                "container": {
                    "type": "object",
                    "properties": {"docker": named_texts},
                    "additionalProperties": false,
                },
            },
            "additionalProperties": false,
        },
        "images": {
            "type": "object",
            "properties": {
                "icon-small": text, "icon-medium": text, "icon-large": text, "screenshots": texts(),
            },
            "additionalProperties": false,
        },
    });
    if version >= 3 {
        let platform = json!({
            "type": "object",
            "properties": {"x86-64": {
                "type": "object",
                "properties": {
                    "kind": {"enum": ["executable", "zip"]},
                    "url": {"type": "string", "pattern": "^https?://"},
                    "contentHash": {"type": "array", "minItems": 1, "items": {
                        "type": "object",
                        "properties": {"algo": {"enum": ["sha256"]}, "value": text},
                        "required": ["algo", "value"],
                        "additionalProperties": false,
                    }},
                },
                "required": ["kind", "url", "contentHash"],
                "additionalProperties": false,
            }},
            "required": ["x86-64"],
            "additionalProperties": false,
        });
        properties["cli"] = json!({
            "type": "object",
            "properties": {"binaries": {
                "type": "object",
                "properties": {"linux": platform, "darwin": platform, "windows": platform},
                "minProperties": 1,
                "additionalProperties": false,
            }},
            "required": ["binaries"],
            "additionalProperties": false,
        });
    }
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// The rules for command.json, which packages before 4.0 may have.
pub(super) fn command_rules() -> Value {
    json!({
        "type": "object",
        "properties": {"pip": texts()},
        "required": ["pip"],
        "additionalProperties": false,
    })
}
