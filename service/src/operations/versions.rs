//! Changes of the registry of engine versions.

use crate::app::App;
use crate::driver::claims::{other_request, same_request};
use crate::driver::confirm::confirmed;
use crate::error::ServiceError;
use crate::http::Asked;
use crate::ports::{
    Claim, ClaimAnswer, CommitId, EngineVersionRow, VersionChange, VersionCommit, VersionCommitted,
};

impl App {
    /// Makes a change, once for each name; the version as it is from then on, `None`: it is gone.
    ///
    /// On the tracker, as everything that changes something: a caller that hangs up does not leave
    /// it half done.
    pub(super) async fn change_version(
        &self,
        change: VersionChange,
        asked: Asked,
    ) -> Result<Option<EngineVersionRow>, ServiceError> {
        if let Some(claim) = &asked.claim
            && let Some(answer) = self.version_claimed(claim).await?
        {
            return Ok(answer);
        }
        let commit = VersionCommit {
            id: CommitId(self.entropy.uuid()),
            change,
            claim: asked.claim.clone(),
            at: self.clock.now(),
        };
        let store = std::sync::Arc::clone(&self.store);
        let changed = self.tasks.spawn(async move {
            let made = confirmed(commit.change.version(), || {}, || store.change_version(&commit));
            made.await
        });
        match changed.await.map_err(|_| ServiceError::InternalError)?? {
            VersionCommitted::Applied(row) => Ok(row.map(|row| *row)),
            VersionCommitted::Exists => {
                Err(ServiceError::Conflict("this engine version is registered already".into()))
            }
            VersionCommitted::NotFound => Err(ServiceError::EngineVersionNotFound),
            VersionCommitted::InUse => Err(ServiceError::EngineVersionInUse),
            VersionCommitted::Claimed => match &asked.claim {
                // Somebody used the name between the look and the change.
                Some(claim) => self.version_claimed(claim).await?.ok_or_else(other_request),
                None => Err(ServiceError::InternalError),
            },
        }
    }

    /// What a change under this name led to, where there was one.
    async fn version_claimed(
        &self,
        claim: &Claim,
    ) -> Result<Option<Option<EngineVersionRow>>, ServiceError> {
        let Some(row) = self.store.claim(&claim.key).await? else { return Ok(None) };
        match same_request(claim, &row)? {
            ClaimAnswer::Version(answer) => Ok(Some(answer.clone().map(|row| *row))),
            ClaimAnswer::Operation { operation: _, record: _ } => Err(other_request()),
        }
    }
}
