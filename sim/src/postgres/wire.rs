//! The protocol: one connection, from its start-up to its end.
//!
//! Messages are taken apart and put together by the codec of `pgwire`; its server is not used, since
//! that wants a real socket, real randomness and a clock.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use net::BoxedStream;
use pgwire::messages::data::{
    DataRow, FORMAT_CODE_BINARY, FORMAT_CODE_TEXT, FieldDescription, NoData, ParameterDescription,
    RowDescription,
};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, CloseComplete, Describe, Parse, ParseComplete, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ErrorResponse, NotificationResponse, ReadyForQuery,
    SslResponse, TransactionStatus,
};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};
use pgwire::messages::{
    DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, SslNegotiationMetaMessage,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::faults::Refuses;
use super::refusal::Refusal;
use super::request::Request;
use super::server::{Letter, Shared};
use super::session::{self, Caller, Ear, End, Failure, Limits};
use super::statement::{self, Kind, Statement};
use super::value::Params;

/// How long a client may take to say who it is; PostgreSQL's `authentication_timeout`.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest message taken.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// How many statements one connection may have prepared.
const MAX_PREPARED: usize = 10_000;

/// The one channel for notifications.
const CHANNEL: &str = "gamemaster_news";

/// What the driver looks at, and what it would show to a person.
const PARAMETERS: [(&str, &str); 6] = [
    ("server_version", "15.0 (simulated)"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
];

/// Serves one connection to its end.
pub(super) async fn serve(
    shared: &Shared,
    stream: BoxedStream,
    refuses: Option<Refuses>,
    number: i32,
) -> io::Result<()> {
    let ear = Ear::new(shared);
    let mut connection = Connection {
        shared,
        stream,
        ear,
        input: BytesMut::new(),
        output: BytesMut::new(),
        context: DecodeContext::default(),
        caller: Caller { number, limits: Limits::default() },
        letters: None,
        prepared: BTreeMap::new(),
        portal: None,
        skips_to_sync: false,
    };
    let started = tokio::time::timeout(STARTUP_TIMEOUT, connection.start(refuses)).await;
    if !started.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
        return Ok(());
    }
    connection.converse().await
}

struct Connection<'a> {
    shared: &'a Shared,
    stream: BoxedStream,
    ear: Ear<'a>,
    input: BytesMut,
    output: BytesMut,
    context: DecodeContext,
    caller: Caller,
    /// What comes in, once it listens.
    letters: Option<mpsc::Receiver<Letter>>,
    prepared: BTreeMap<String, (&'static Statement, usize)>,
    portal: Option<Portal>,
    /// After an error nothing is looked at until the client says that it has heard.
    skips_to_sync: bool,
}

/// A statement with its parameters.
struct Portal {
    statement: &'static Statement,
    request: Request,
}

/// What a message leads to.
enum Next {
    On,
    Over,
}

impl Connection<'_> {
    /// Whether the connection is let in.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the codec knows")]
    async fn start(&mut self, refuses: Option<Refuses>) -> io::Result<bool> {
        loop {
            let Some(message) = self.read().await? else { return Ok(false) };
            match message {
                PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::None) => {
                    self.context.awaiting_frontend_ssl = false;
                }
                PgWireFrontendMessage::SslNegotiation(
                    SslNegotiationMetaMessage::PostgresSsl(_)
                    | SslNegotiationMetaMessage::PostgresGss(_),
                ) => {
                    self.put(&PgWireBackendMessage::SslResponse(SslResponse::Refuse))?;
                    self.flush().await?;
                }
                PgWireFrontendMessage::Startup(startup) => {
                    self.context.awaiting_frontend_startup = false;
                    let options = startup.parameters.get("options");
                    self.caller.limits = options.map(|text| Limits::read(text)).unwrap_or_default();
                    break;
                }
                // Cancelling is not asked for by the adapter, which drops the connection instead.
                _ => return Ok(false),
            }
        }
        if let Some(refuses) = refuses {
            let refusal = match refuses {
                Refuses::StartingUp => Refusal::new("57P03", "the database system is starting up"),
                Refuses::TooManyConnections => {
                    Refusal::new("53300", "sorry, too many clients already")
                }
            };
            self.error("FATAL", &refusal)?;
            self.flush().await?;
            return Ok(false);
        }
        self.put(&PgWireBackendMessage::Authentication(Authentication::Ok))?;
        for (name, value) in PARAMETERS {
            let status = ParameterStatus::new(name.into(), value.into());
            self.put(&PgWireBackendMessage::ParameterStatus(status))?;
        }
        let number = self.caller.number;
        let key = BackendKeyData::new(number, SecretKey::I32(number));
        self.put(&PgWireBackendMessage::BackendKeyData(key))?;
        self.ready()?;
        self.flush().await?;
        Ok(true)
    }

    async fn converse(&mut self) -> io::Result<()> {
        loop {
            let message = match self.next().await? {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(end) => return self.end(end).await,
            };
            match self.answer(message).await? {
                Ok(Next::On) => {}
                Ok(Next::Over) => return Ok(()),
                Err(end) => return self.end(end).await,
            }
        }
    }

    /// The next message, or what struck meanwhile.
    async fn next(&mut self) -> io::Result<Result<Option<PgWireFrontendMessage>, End>> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Ok(Some(message)));
            }
            self.flush().await?;
            let read = tokio::select! {
                biased;
                end = self.ear.struck() => return Ok(Err(end)),
                letter = heard(&mut self.letters) => {
                    self.hand_over(letter)?;
                    continue;
                }
                read = self.stream.read_buf(&mut self.input) => read?,
            };
            if read == 0 {
                return Ok(Ok(None));
            }
        }
    }

    async fn read(&mut self) -> io::Result<Option<PgWireFrontendMessage>> {
        Ok(self.next().await?.unwrap_or(None))
    }

    fn decode(&mut self) -> io::Result<Option<PgWireFrontendMessage>> {
        if self.input.len() > MAX_MESSAGE_BYTES {
            return Err(io::Error::other("a message is too long"));
        }
        PgWireFrontendMessage::decode(&mut self.input, &self.context).map_err(io::Error::other)
    }

    async fn answer(&mut self, message: PgWireFrontendMessage) -> io::Result<Result<Next, End>> {
        if matches!(message, PgWireFrontendMessage::Sync(_)) {
            self.skips_to_sync = false;
            self.portal = None;
            self.ready()?;
            self.flush().await?;
            return Ok(Ok(Next::On));
        }
        if matches!(message, PgWireFrontendMessage::Terminate(_)) {
            return Ok(Ok(Next::Over));
        }
        if self.skips_to_sync {
            return Ok(Ok(Next::On));
        }
        if let PgWireFrontendMessage::Query(query) = &message {
            let said = self.simple(&query.query);
            if let Err(refusal) = said? {
                self.error("ERROR", &refusal)?;
            }
            self.ready()?;
            self.flush().await?;
            return Ok(Ok(Next::On));
        }
        match self.extended(message).await? {
            Ok(()) => Ok(Ok(Next::On)),
            Err(Failure::Refused(refusal)) => {
                self.error("ERROR", &refusal)?;
                self.skips_to_sync = true;
                Ok(Ok(Next::On))
            }
            Err(Failure::Ended(end)) => Ok(Err(end)),
        }
    }

    /// The statements that go without parameters: what the pool asks of a connection before it is
    /// used again, and what a connection of several asks a host.
    fn simple(&mut self, sql: &str) -> io::Result<Result<(), Refusal>> {
        let complete =
            |tag: &str| PgWireBackendMessage::CommandComplete(CommandComplete::new(tag.to_owned()));
        match sql {
            "" => {
                self.put(&PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))?;
            }
            "BEGIN; ROLLBACK" => {
                self.put(&complete("BEGIN"))?;
                self.put(&complete("ROLLBACK"))?;
            }
            "LISTEN gamemaster_news" => {
                if self.shared.state().conduct.read_only {
                    return Ok(Err(Refusal::read_only("LISTEN")));
                }
                self.letters = Some(self.shared.listen(self.caller.number));
                self.put(&complete("LISTEN"))?;
            }
            "SHOW transaction_read_only" => {
                let read_only = self.shared.state().conduct.read_only;
                let field = field("transaction_read_only", Kind::Text, FORMAT_CODE_TEXT);
                let description = RowDescription::new(vec![field]);
                self.put(&PgWireBackendMessage::RowDescription(description))?;
                let mut data = BytesMut::new();
                let word = super::value::Value::text(if read_only { "on" } else { "off" });
                if let Err(refusal) = word.write(&mut data) {
                    return Ok(Err(refusal));
                }
                self.put(&PgWireBackendMessage::DataRow(DataRow::new(data, 1)))?;
                self.put(&complete("SHOW"))?;
            }
            other => return Ok(Err(unknown(other))),
        }
        Ok(Ok(()))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the codec knows")]
    async fn extended(
        &mut self,
        message: PgWireFrontendMessage,
    ) -> io::Result<Result<(), Failure>> {
        let said = match message {
            PgWireFrontendMessage::Parse(parse) => self.parse(&parse),
            PgWireFrontendMessage::Describe(describe) => self.describe(&describe),
            PgWireFrontendMessage::Bind(bind) => self.bind(&bind),
            PgWireFrontendMessage::Close(close) => {
                if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
                    self.prepared.remove(&close.name.unwrap_or_default());
                }
                self.put(&PgWireBackendMessage::CloseComplete(CloseComplete::new()))?;
                Ok(Ok(()))
            }
            PgWireFrontendMessage::Flush(_) => {
                self.flush().await?;
                Ok(Ok(()))
            }
            PgWireFrontendMessage::Execute(execute) => {
                if execute.max_rows != 0 {
                    return Ok(Err(Refusal::protocol("rows are given all at once here").into()));
                }
                return self.execute().await;
            }
            other => Ok(Err(Refusal::protocol(format!("a message that is none: {other:?}")))),
        };
        Ok(said?.map_err(Failure::from))
    }

    fn parse(&mut self, parse: &Parse) -> io::Result<Result<(), Refusal>> {
        let Some(found) = statement::find(&parse.query) else {
            self.shared.state().count("42601");
            return Ok(Err(unknown(&parse.query)));
        };
        if self.prepared.len() >= MAX_PREPARED {
            return Ok(Err(Refusal::new("53200", "too many statements are prepared")));
        }
        self.prepared.insert(parse.name.clone().unwrap_or_default(), found);
        self.put(&PgWireBackendMessage::ParseComplete(ParseComplete::new()))?;
        Ok(Ok(()))
    }

    fn describe(&mut self, describe: &Describe) -> io::Result<Result<(), Refusal>> {
        if describe.target_type != TARGET_TYPE_BYTE_STATEMENT {
            return Ok(Err(Refusal::protocol("only statements are described here")));
        }
        let (statement, _) = match self.named(describe.name.as_deref()) {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let types = statement.params.iter().map(|kind| kind.oid_and_size().0).collect();
        let description = ParameterDescription::new(types);
        self.put(&PgWireBackendMessage::ParameterDescription(description))?;
        if statement.columns.is_empty() {
            self.put(&PgWireBackendMessage::NoData(NoData::new()))?;
        } else {
            let columns = statement.columns.iter();
            let fields = columns.map(|(name, kind)| field(name, *kind, FORMAT_CODE_TEXT));
            let description = RowDescription::new(fields.collect());
            self.put(&PgWireBackendMessage::RowDescription(description))?;
        }
        Ok(Ok(()))
    }

    fn bind(&mut self, bind: &Bind) -> io::Result<Result<(), Refusal>> {
        let (statement, limit) = match self.named(bind.statement_name.as_deref()) {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let binary = |codes: &[i16]| codes.iter().all(|code| *code == FORMAT_CODE_BINARY);
        let no_params = bind.parameters.is_empty();
        let formats = &bind.parameter_format_codes;
        let is_binary = (no_params || !formats.is_empty())
            && binary(formats)
            && !bind.result_column_format_codes.is_empty()
            && binary(&bind.result_column_format_codes);
        if !is_binary {
            return Ok(Err(Refusal::protocol("only the binary format is spoken here")));
        }
        if bind.parameters.len() != statement.params.len() {
            return Ok(Err(Refusal::protocol(format!(
                "bind message supplies {} parameters, but the statement requires {}",
                bind.parameters.len(),
                statement.params.len()
            ))));
        }
        let request = match Request::read(statement, limit, &Params(&bind.parameters)) {
            Ok(request) => request,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.portal = Some(Portal { statement, request });
        self.put(&PgWireBackendMessage::BindComplete(BindComplete::new()))?;
        Ok(Ok(()))
    }

    async fn execute(&mut self) -> io::Result<Result<(), Failure>> {
        let Some(Portal { statement, request }) = self.portal.take() else {
            return Ok(Err(Refusal::new("34000", "portal \"\" does not exist").into()));
        };
        let ear = &self.ear;
        let done =
            session::execute(self.shared, self.caller, ear, &request, statement.writes).await;
        let reply = match done {
            Ok(reply) => reply,
            Err(failure) => return Ok(Err(failure)),
        };
        for row in &reply.rows {
            let mut data = BytesMut::new();
            for value in row {
                if let Err(refusal) = value.write(&mut data) {
                    return Ok(Err(refusal.into()));
                }
            }
            let width = i16::try_from(row.len()).map_err(io::Error::other)?;
            self.put(&PgWireBackendMessage::DataRow(DataRow::new(data, width)))?;
        }
        let complete = CommandComplete::new(reply.tag());
        self.put(&PgWireBackendMessage::CommandComplete(complete))?;
        Ok(Ok(()))
    }

    fn named(&self, name: Option<&str>) -> Result<(&'static Statement, usize), Refusal> {
        let name = name.unwrap_or_default();
        let found = self.prepared.get(name).copied();
        found.ok_or_else(|| {
            Refusal::new("26000", format!("prepared statement \"{name}\" does not exist"))
        })
    }

    fn put(&mut self, message: &PgWireBackendMessage) -> io::Result<()> {
        message.encode(&mut self.output).map_err(io::Error::other)
    }

    fn hand_over(&mut self, Letter { from, text }: Letter) -> io::Result<()> {
        let letter = NotificationResponse::new(from, CHANNEL.to_owned(), text);
        self.put(&PgWireBackendMessage::NotificationResponse(letter))
    }

    /// Before it says that it is ready, the server tells what there is to tell.
    fn ready(&mut self) -> io::Result<()> {
        while let Some(letter) = self.letters.as_mut().and_then(|l| l.try_recv().ok()) {
            self.hand_over(letter)?;
        }
        let ready = ReadyForQuery::new(TransactionStatus::Idle);
        self.put(&PgWireBackendMessage::ReadyForQuery(ready))
    }

    fn error(&mut self, severity: &str, refusal: &Refusal) -> io::Result<()> {
        let fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', refusal.code.to_owned()),
            (b'M', refusal.message.clone()),
        ];
        self.put(&PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields)))
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
            self.stream.flush().await?;
        }
        Ok(())
    }

    async fn end(&mut self, end: End) -> io::Result<()> {
        match end {
            End::Cut => {
                // What lies here unsent goes with the connection.
                self.output.clear();
                Ok(())
            }
            End::Fatal(refusal) => {
                self.error("FATAL", &refusal)?;
                self.flush().await
            }
        }
    }
}

/// What was sent is told: this is how a statement that the adapter has and this host has not shows.
fn unknown(sql: &str) -> Refusal {
    Refusal::new("42601", format!("the simulated server does not know this statement: {sql}"))
}

/// The next notification; never one where nobody listens.
async fn heard(letters: &mut Option<mpsc::Receiver<Letter>>) -> Letter {
    let letter = match letters {
        Some(letters) => letters.recv().await,
        None => None,
    };
    match letter {
        Some(letter) => letter,
        None => std::future::pending().await,
    }
}

fn field(name: &str, kind: Kind, format: i16) -> FieldDescription {
    let (oid, size) = kind.oid_and_size();
    FieldDescription::new(name.to_owned(), 0, 0, oid, size, -1, format)
}
