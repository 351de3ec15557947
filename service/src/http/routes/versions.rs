//! The engine versions.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use machine::EngineVersion;

use crate::error::ServiceError;
use crate::http::api::{Api, Asked, VersionUpdate};
use crate::http::cursor::{self, Scope};
use crate::http::json::Json;
use crate::http::query;
use crate::http::reply::{Refusal, Reply, json, no_content};
use crate::http::view::{ImageRefView, Page, VersionView};
use crate::ports::{NewVersion, VersionOptions, VersionStatus};

const LIST: Scope<'_> = Scope { list: "engine-versions", filter: "" };

pub(super) async fn create(asked: Asked, body: Bytes, api: Arc<dyn Api>) -> Result<Reply, Refusal> {
    let created = api.create_version(new_version(&body)?, asked).await?;
    Ok(json(StatusCode::CREATED, &VersionView::from(&created)))
}

pub(super) async fn update(
    version: EngineVersion,
    asked: Asked,
    body: Bytes,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let updated = api.update_version(version, version_update(&body)?, asked).await?;
    Ok(json(StatusCode::OK, &VersionView::from(&updated)))
}

pub(super) async fn deprecate(
    version: EngineVersion,
    asked: Asked,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let deprecated = api.deprecate_version(version, asked).await?;
    Ok(json(StatusCode::OK, &VersionView::from(&deprecated)))
}

pub(super) async fn delete(
    version: EngineVersion,
    asked: Asked,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    api.delete_version(version, asked).await?;
    Ok(no_content())
}

pub(super) async fn get(
    version: EngineVersion,
    _asked: Asked,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    Ok(json(StatusCode::OK, &VersionView::from(&api.version(&version).await?)))
}

pub(super) async fn image_ref(
    version: EngineVersion,
    _asked: Asked,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let row = api.version(&version).await?;
    match row.status {
        VersionStatus::Active => Ok(json(StatusCode::OK, &ImageRefView::from(&row))),
        VersionStatus::Deprecated => {
            let message = "the version is deprecated: no new game may start on it";
            Err(ServiceError::Conflict(message.into()).into())
        }
    }
}

pub(super) async fn list(
    _asked: Asked,
    query: String,
    api: Arc<dyn Api>,
) -> Result<Reply, Refusal> {
    let query = query::of_page(&query)?;
    let after = query
        .cursor
        .map(|text| cursor::decode::<EngineVersion>(LIST, &text).ok_or_else(query::bad_cursor))
        .transpose()?;

    // One more than is shown tells whether there is a next page.
    let mut versions = api.versions(after, query.limit + 1).await?;
    let has_more = versions.len() > query.limit;
    versions.truncate(query.limit);
    let last = versions.last().filter(|_| has_more);
    let next_cursor = last.map(|last| cursor::encode(LIST, &last.version.to_string()));
    let items = versions.iter().map(VersionView::from).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

fn new_version(body: &[u8]) -> Result<NewVersion, ServiceError> {
    let body = Json::parse(body)?;
    let [version, image_ref, options] = body.fields(["version", "image_ref", "options"])?;
    Ok(NewVersion {
        version: version?.parse_as()?,
        image_ref: image_ref?.parse_as()?,
        options: match options.ok() {
            Some(options) => version_options(&options)?,
            None => VersionOptions::default(),
        },
    })
}

fn version_update(body: &[u8]) -> Result<VersionUpdate, ServiceError> {
    let body = Json::parse(body)?;
    let [image_ref, options] = body.fields(["image_ref", "options"])?;
    let update = VersionUpdate {
        image_ref: image_ref.ok().map(|image_ref| image_ref.parse_as()).transpose()?,
        options: options.ok().map(|options| all_version_options(&options)).transpose()?,
    };
    match update {
        VersionUpdate { image_ref: None, options: None } => {
            Err(body.refuse("must have at least one field (known: image_ref, options)"))
        }
        update => Ok(update),
    }
}

/// Options that take the place of others: none is left to a default.
fn all_version_options(options: &Json<'_>) -> Result<VersionOptions, ServiceError> {
    let [turn_guard] = options.fields(["turn_guard"])?;
    Ok(VersionOptions { turn_guard: turn_guard?.boolean()? })
}

fn version_options(options: &Json<'_>) -> Result<VersionOptions, ServiceError> {
    let [turn_guard] = options.fields(["turn_guard"])?;
    let VersionOptions { turn_guard: usual } = VersionOptions::default();
    let turn_guard = turn_guard.ok().map_or(Ok(usual), |value| value.boolean())?;
    Ok(VersionOptions { turn_guard })
}
