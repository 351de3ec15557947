//! Servers in containers: one of each kind for all test processes of this machine, found again by
//! its name. It is left running, since nobody knows who is the last to need it; `docker rm -f
//! gamemaster-tests-postgres gamemaster-tests-redis` removes both.

use super::discovery::Kind;

/// The URL of a container's server, started where it does not run; why there is none; nothing where
/// containers are not built in.
#[cfg(not(feature = "docker"))]
pub(super) fn url(_: Kind) -> impl Future<Output = Option<Result<String, String>>> {
    std::future::ready(None)
}

/// The same.
#[cfg(feature = "docker")]
pub(super) async fn url(kind: Kind) -> Option<Result<String, String>> {
    Some(container::url(kind).await)
}

#[cfg(feature = "docker")]
mod container {
    use std::fs::File;

    use testcontainers::core::ContainerPort;
    use testcontainers::runners::AsyncRunner;
    use testcontainers::{ContainerAsync, ContainerRequest, Image, ImageExt, ReuseDirective};
    use testcontainers_modules::postgres::Postgres;
    use testcontainers_modules::redis::{REDIS_PORT, Redis};

    use super::Kind;

    const POSTGRES_PORT: u16 = 5432;

    pub(super) async fn url(kind: Kind) -> Result<String, String> {
        match kind {
            Kind::Postgres => {
                // Tests of a pool want many connections.
                let image = Postgres::default().with_tag("15-alpine").with_cmd([
                    "postgres",
                    "-c",
                    "max_connections=200",
                    "-c",
                    "fsync=off",
                ]);
                let address = address(image, "gamemaster-tests-postgres", POSTGRES_PORT).await?;
                Ok(format!("postgresql://postgres:postgres@{address}/postgres"))
            }
            Kind::Redis => {
                let image = Redis::default().with_tag("7-alpine");
                let address = address(image, "gamemaster-tests-redis", REDIS_PORT).await?;
                Ok(format!("redis://{address}"))
            }
        }
    }

    /// Where the container of that name listens, which is made where there is none.
    async fn address<I: Image>(
        image: ContainerRequest<I>,
        name: &str,
        port: u16,
    ) -> Result<String, String> {
        // One process at a time: two that find none would make two.
        let lock = File::create(std::env::temp_dir().join(format!("{name}.lock")));
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(|e| e.to_string())?;
        let image = image.with_container_name(name).with_reuse(ReuseDirective::Always);
        let container: ContainerAsync<I> = image.start().await.map_err(|e| e.to_string())?;
        drop(lock);
        let host = container.get_host().await.map_err(|e| e.to_string())?;
        let port = container.get_host_port_ipv4(ContainerPort::Tcp(port)).await;
        Ok(format!("{host}:{}", port.map_err(|e| e.to_string())?))
    }
}
