//! `gamemaster.change_version`, transcribed.

use serde_json::{Value, json};
use service::ports::{NewVersion, VersionChange, VersionCommit, VersionOptions, VersionStatus};

use super::commit::{is_claimed, take_claim, versions_named};
use super::refusal::Refusal;
use super::tables::{Tables, Transaction, VersionRow};
use super::value::{self, instant};

/// The answer, and the version as it is then.
pub(super) fn change_version(
    tx: &mut Transaction<'_>,
    commit: &VersionCommit,
    sort_key: &str,
    found_taken: bool,
) -> Result<(&'static str, Option<Value>), Refusal> {
    let name = commit.change.version().to_string();
    if tx.commit_ids().contains_key(&commit.id) {
        return Ok(("applied", document(tx, &name)));
    }
    let there = tx.versions().get(&name).cloned();
    if found_taken {
        return Ok(("claimed", None));
    }
    let (answer, next) = match (&commit.change, there) {
        (VersionChange::Create(new), None) => ("applied", Some(fresh(new, commit, sort_key))),
        (VersionChange::Create(_), Some(_)) => ("exists", None),
        (
            VersionChange::Update { .. } | VersionChange::Deprecate(_) | VersionChange::Delete(_),
            None,
        ) => ("not_found", None),
        (VersionChange::Update { version: _, image_ref, options }, Some(row)) => {
            let row = VersionRow {
                image_ref: image_ref.as_ref().map_or(row.image_ref, ToString::to_string),
                options: options.map_or(row.options, options_document),
                updated_at: commit.at,
                ..row
            };
            ("applied", Some(row))
        }
        (VersionChange::Deprecate(_), Some(row)) => match row.status {
            VersionStatus::Deprecated => ("applied", Some(row)),
            VersionStatus::Active => {
                let status = VersionStatus::Deprecated;
                ("applied", Some(VersionRow { status, updated_at: commit.at, ..row }))
            }
        },
        (VersionChange::Delete(_), Some(_)) => {
            let names_it =
                |row: &super::tables::RecordRow| versions_named(&row.runtime).contains(&name);
            let named = tx.records().values().any(names_it);
            (if named { "in_use" } else { "applied" }, None)
        }
    };
    if answer != "applied" {
        let taken = commit.claim.as_ref().is_some_and(|claim| is_claimed(tx, claim, commit.at));
        return Ok((if taken { "claimed" } else { answer }, None));
    }
    if next.as_ref().is_some_and(|row| row.updated_at < row.created_at) {
        return Err(Refusal::check_violation("updated_at >= created_at"));
    }
    tx.set_commit_id(commit.id, Some(commit.at));
    tx.set_version(&name, next);
    let document = document(tx, &name);
    if let Some(claim) = &commit.claim
        && !take_claim(tx, claim, None, document.clone(), commit.at)
    {
        return Err(Refusal::claim_taken_meanwhile());
    }
    Ok(("applied", document))
}

fn fresh(new: &NewVersion, commit: &VersionCommit, sort_key: &str) -> VersionRow {
    VersionRow {
        sort_key: sort_key.to_owned(),
        image_ref: new.image_ref.to_string(),
        options: options_document(new.options),
        status: VersionStatus::Active,
        created_at: commit.at,
        updated_at: commit.at,
    }
}

fn options_document(VersionOptions { turn_guard }: VersionOptions) -> Value {
    json!({ "turn_guard": turn_guard })
}

/// `gamemaster.version_document`.
pub(super) fn document(tables: &Tables, version: &str) -> Option<Value> {
    let row = tables.versions().get(version)?;
    Some(json!({
        "version": version,
        "image_ref": row.image_ref,
        "options": row.options,
        "status": value::word(&row.status),
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
    }))
}
