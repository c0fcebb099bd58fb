//! The one shape of every error, and the one table of its codes.

use core::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::configuration::ChangeError;
use crate::database::DatabaseError;
use crate::security::{GateError, Right, TryError};

macro_rules! codes {
    ($($code:ident $word:literal $status:literal $hint:literal,)+) => {
        /// What went wrong, as a word that stays the same.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $hint] $code,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: [Code; [$($word),+].len()] = [$(Code::$code),+];

            /// The word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Code::$code => $word,)+ }
            }

            /// The HTTP status that it comes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Code::$code => $status,)+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Code::$code => $hint,)+ }
            }
        }
    };
}

codes! {
    NotJson "not_json" 400 "send a JSON document",
    InvalidQuery "invalid_query" 400 "the document of the API lists the parameters of each address",
    InvalidPath "invalid_path" 400 "the message says what an identifier or a name is made of",
    UploadBroken "upload_broken" 400 "send it again",
    UnreadableFile "unreadable_file" 400 "an export shows what a file of terminals looks like",
    Unauthenticated "unauthenticated" 401 "log in at POST /api/v1/session, or send an API key as Authorization: Bearer",
    WrongCredentials "wrong_credentials" 401 "check the name and the password",
    Forbidden "forbidden" 403 "ask an administrator for the right that the message names",
    HeaderMissing "header_missing" 403 "send the header X-Daybreak-Request: 1 with every change that a session makes",
    BeyondOwnRights "beyond_own_rights" 403 "only somebody who has the right can give it or take it away",
    SetUpDone "set_up_done" 403 "log in; if nobody can, restart the server: it prints a new link while there is no administrator",
    NotFound "not_found" 404 "check the address, or list what there is",
    TooSlow "too_slow" 408 "send it again, faster; large files go to /api/v1/files or /api/v1/uploads",
    MethodNotAllowed "method_not_allowed" 405 "the document of the API lists the methods of each address",
    Taken "taken" 409 "choose another value, or change the object that has it",
    WrongOffset "wrong_offset" 409 "ask where the upload is, and go on there",
    TooManyUploads "too_many_uploads" 409 "finish or delete one; those that nobody goes on with end after 24 hours",
    NotAvailableYet "not_available_yet" 409 "this is reserved for a later version; nothing was done",
    InUse "in_use" 409 "change what refers to it first, or repeat with ?force=true",
    Rendered "rendered" 409 "change the configuration; or choose another name",
    LicenceRefused "licence_refused" 422 "the message says what to do; /api/v1/licensing shows this installation's identifier",
    NoSeat "no_seat" 409 "install a licence, or release the seat of another terminal",
    BackupRunning "backup_running" 409 "try again when it is done",
    RestoreOutdated "restore_outdated" 409 "plan the restore again, and look at the differences",
    RestoreNotPlanned "restore_not_planned" 409 "look at its state: it is still being read, or was begun, or failed; plan it again",
    ImagesMissing "images_missing" 409 "restore a backup with images, or plan it with without_missing_images",
    TooManyBackups "too_many_backups" 409 "delete backups that are not needed any more",
    LastAdministrator "last_administrator" 409 "make another user an administrator first",
    NotReplaceable "not_replaceable" 409 "make the terminal replaceable first, or take another one",
    Paired "paired" 409 "un-pair first: DELETE /api/v1/sync/pairing",
    NotPaired "not_paired" 409 "check that both servers run and reach each other, and show a new code",
    IncompatibleVersion "incompatible_version" 409 "install the same version of the software on both servers",
    MirroredSecondary "mirrored_secondary" 409 "make the change on the primary; if that is dead, un-pair here, or pair a new server",
    Online "online" 409 "switch the old unit off, and wait: two minutes, or until a report of it is overdue",
    OtherModel "other_model" 409 "take a unit of the same model, or allow others by replace_same_model",
    Stale "stale" 412 "read it again, and make your change to what it is now",
    TooLarge "too_large" 413 "send less",
    WrongHost "wrong_host" 421 "use the address or localhost; or start the server with --host and the name",
    NotJsonType "not_json_type" 415 "send Content-Type: application/json",
    UnknownFormat "unknown_format" 415 "send Content-Type: text/csv or application/json",
    Multipart "multipart" 415 "send the file itself as the body, as curl --upload-file does",
    Invalid "invalid" 422 "correct the field that is named",
    DanglingReference "dangling_reference" 422 "create what the field names first, or name something that is there",
    RowsRefused "rows_refused" 422 "correct the rows that the report names, or repeat with ?valid_only=true",
    BackupDamaged "backup_damaged" 422 "take another copy of it, or another backup; nothing was changed",
    BackupIncompatible "backup_incompatible" 422 "use the version of the software that made it, or a newer one",
    HashMismatch "hash_mismatch" 422 "send it again; or correct the hash",
    RevisionRequired "revision_required" 428 "read it first, and send its ETag as If-Match; or If-Match: *",
    TooManyAttempts "too_many_attempts" 429 "wait as long as Retry-After says",
    Internal "internal" 500 "the log of the server says more; look for the request's X-Request-Id",
    Busy "busy" 503 "try again in a moment",
    DiskFull "disk_full" 507 "free space on the server; what terminals boot is not affected",
}

/// What every error looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong, as a word that stays the same.
    pub code: &'static str,
    /// What went wrong, for people.
    pub message: String,
    /// The field of the request that is wrong, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    pub hint: &'static str,
}

/// An error on its way out.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    message: String,
    field: Option<String>,
    header: Option<(header::HeaderName, String)>,
}

impl ApiError {
    /// An error that no field is to blame for.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        ApiError {
            code,
            message: message.into(),
            field: None,
            header: None,
        }
    }

    /// The same, with the field that is to blame.
    #[must_use]
    pub fn at(self, field: impl Into<String>) -> Self {
        ApiError {
            field: Some(field.into()),
            ..self
        }
    }

    /// The same, with a header.
    #[must_use]
    pub fn with(self, name: header::HeaderName, value: impl Into<String>) -> Self {
        ApiError {
            header: Some((name, value.into())),
            ..self
        }
    }

    /// What failed on our side is told to the log, not to the client.
    pub fn internal(why: &dyn fmt::Display) -> Self {
        tracing::error!(%why, "a request failed");
        ApiError::new(Code::Internal, "the server could not do this")
    }

    /// A right that the identity does not have.
    #[must_use]
    pub fn forbidden(right: Right) -> Self {
        ApiError::new(
            Code::Forbidden,
            format!("this needs the right {}", right.word()),
        )
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.code.status()).expect("a table of statuses");
        let mut response = HttpResponse::build(status);
        if let Some((name, value)) = &self.header {
            response.insert_header((name, value.as_str()));
        }
        if self.code.status() == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(self.body())
    }

    /// The HTTP status of the answer.
    pub(super) const fn status(&self) -> u16 {
        self.code.status()
    }

    /// What it says.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            code: self.code.word(),
            message: self.message.clone(),
            field: self.field.clone(),
            hint: self.code.hint(),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.word(), self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).expect("a table of statuses")
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        if error.is_disk_full() {
            return ApiError::new(
                Code::DiskFull,
                "the disk of the server is full; nothing was changed",
            );
        }
        if error.is_busy() {
            return ApiError::new(
                Code::Busy,
                "another program is writing the configuration; nothing was changed",
            );
        }
        ApiError::internal(&error)
    }
}

impl Code {
    /// What the refusal of a change is called.
    #[must_use]
    pub fn of(error: &ChangeError) -> Self {
        match error {
            ChangeError::Invalid(_) | ChangeError::Nesting { .. } => Code::Invalid,
            ChangeError::Taken { .. } | ChangeError::Twice { .. } => Code::Taken,
            ChangeError::Dangling { .. } | ChangeError::NotNamed { .. } => Code::DanglingReference,
            ChangeError::Unknown { .. } => Code::NotFound,
            ChangeError::Stale => Code::Stale,
            ChangeError::InUse { .. } => Code::InUse,
            ChangeError::Beyond(_) => Code::BeyondOwnRights,
            ChangeError::Secondary(_) => Code::MirroredSecondary,
            ChangeError::NoSeat => Code::NoSeat,
            ChangeError::LastAdministrator => Code::LastAdministrator,
            ChangeError::TooMany | ChangeError::TooLarge => Code::TooLarge,
            ChangeError::Database(_) => Code::Internal,
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        if let ChangeError::Database(error) = error {
            return error.into();
        }
        let code = Code::of(&error);
        let refused = ApiError::new(code, error.to_string());
        match error.field() {
            Some(field) => refused.at(field),
            None => refused,
        }
    }
}

impl From<GateError> for ApiError {
    fn from(error: GateError) -> Self {
        let message = error.to_string();
        match error {
            GateError::Try(error) => error.into(),
            GateError::SetUpDone => ApiError::new(Code::SetUpDone, message),
            GateError::Password(_) => ApiError::new(Code::Invalid, message).at("password"),
            GateError::Change(error) => error.into(),
            GateError::Database(error) => error.into(),
        }
    }
}

impl From<TryError> for ApiError {
    fn from(error: TryError) -> Self {
        let message = error.to_string();
        match error {
            TryError::Wrong => ApiError::new(Code::WrongCredentials, message),
            TryError::TooMany(seconds) => ApiError::new(Code::TooManyAttempts, message)
                .with(header::RETRY_AFTER, seconds.to_string()),
        }
    }
}

impl From<actix_web::error::BlockingError> for ApiError {
    fn from(error: actix_web::error::BlockingError) -> Self {
        ApiError::internal(&error)
    }
}
