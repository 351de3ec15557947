//! Removes what test processes that are gone have left on servers that outlive them: those that
//! `GAMEMASTER_TEST_POSTGRES_URL` and `GAMEMASTER_TEST_REDIS_URL` name, and those in containers.

#[tokio::main]
async fn main() {
    integration::servers::sweep().await;
}
