//! `notify-api resend`: one more attempt for some, or for all that have failed.

use std::process::ExitCode;

use notify_api::{Client, ClientError, ListOptions, State};

use crate::{
    cli::{EXIT_FAILED, Refusal, Resend},
    config::Config,
    list::{self, Table},
    reach,
};

/// Has them sent again, and says how many.
pub(crate) fn run(asked: &Resend, config: &Config) -> Result<ExitCode, Refusal> {
    let client = reach::client(config, asked.url.as_deref())?;
    if asked.failed { resend_failed(&client, asked) } else { Ok(resend(&client, &asked.ids)) }
}

fn resend(client: &Client, ids: &[String]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        match client.resend(id) {
            Ok(()) => {}
            Err(error @ (ClientError::NotFound(_) | ClientError::Rejected(_))) => {
                eprintln!("notify-api: {id:?}: {error}");
                code = ExitCode::from(EXIT_FAILED);
            }
            Err(error) => return reach::failed(&error),
        }
    }
    code
}

fn resend_failed(client: &Client, asked: &Resend) -> Result<ExitCode, Refusal> {
    let options = ListOptions {
        state: Some(State::Failed),
        r#type: asked.r#type.clone(),
        since: asked.since,
        ..ListOptions::default()
    };
    let (mut count, mut table) = (0_u64, Table::default());
    let code = 'all: {
        // What is sent again is no longer among the failed ones, or fails again behind the place where the
        // next page begins.
        for page in list::pages(client, options, usize::MAX) {
            let page = match page {
                Ok(page) => page,
                Err(error) => break 'all reach::failed(&error),
            };
            if asked.dry_run {
                table.print(&page).map_err(|error| format!("cannot print: {error}"))?;
                count += page.len() as u64;
                continue;
            }
            for item in page {
                match client.resend(item.id.as_str()) {
                    Ok(()) => count += 1,
                    // Deleted since.
                    Err(ClientError::NotFound(_)) => {}
                    Err(error) => break 'all reach::failed(&error),
                }
            }
        }
        ExitCode::SUCCESS
    };
    println!("failed notifications {}sent again: {count}", if asked.dry_run { "that would be " } else { "" });
    Ok(code)
}
