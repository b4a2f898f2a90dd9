//! The endpoints, by their paths and methods.

use warp::http::Method;

use super::reply::Failure;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Post(Call),
    Get(View),
}

/// What takes a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Send,
    SendOnce,
    Resend,
    Result,
    Status,
    Detail,
    Delete,
    Clear,
    ForceClear,
}

/// What takes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    List,
    Metrics,
    Health,
}

impl Endpoint {
    /// What is at this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/send" => Self::Post(Call::Send),
            "/sendOnce" => Self::Post(Call::SendOnce),
            "/resend" => Self::Post(Call::Resend),
            "/result" => Self::Post(Call::Result),
            "/status" => Self::Post(Call::Status),
            "/detail" => Self::Post(Call::Detail),
            "/delete" => Self::Post(Call::Delete),
            "/clear" => Self::Post(Call::Clear),
            "/forceClear" => Self::Post(Call::ForceClear),
            "/list" => Self::Get(View::List),
            "/metrics" => Self::Get(View::Metrics),
            "/health" => Self::Get(View::Health),
            _ => return None,
        })
    }

    /// What the path takes is told to whoever tries something else.
    pub(super) fn check_method(self, method: &Method) -> Result<(), Failure> {
        match self {
            Self::Post(_) if method == Method::POST => Ok(()),
            Self::Post(_) => Err(Failure::MethodNotAllowed("POST")),
            Self::Get(_) if method == Method::GET || method == Method::HEAD => Ok(()),
            Self::Get(_) => Err(Failure::MethodNotAllowed("GET, HEAD")),
        }
    }
}
