//! `tidegate login`: programs that sign in with a code, confirmed, listed and ended.

use clap::{Args, Subcommand};
use tidegate_control::wire::{LoginDecided, LoginDecision, LoginEnded, Logins};
use tidegate_types::KeyId;

use super::{
    Client, Format, Said,
    table::{Table, plain},
};

/// What can be done with sign-ins.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LoginCommand {
    /// Say yes to the program that shows a code
    Approve(ApproveArgs),
    /// Say no to the program that shows a code
    Deny {
        /// The code, like WDJB-MJHT
        code: String,
        /// How to print
        #[command(flatten)]
        format: Format,
    },
    /// Programs that are signed in
    List(Format),
    /// End a sign-in: its tokens are refused from now on
    Revoke {
        /// The sign-in, as in the list
        id: KeyId,
        /// How to print
        #[command(flatten)]
        format: Format,
    },
}

/// Options of `login approve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The code, like WDJB-MJHT
    pub(crate) code: String,
    /// Whom it is signed in as [default: the local user]
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// The organisation that pays [default: the local one]
    #[arg(long)]
    pub(crate) organisation: Option<String>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

pub(super) fn answer(command: &LoginCommand, client: &Client) -> anyhow::Result<Said> {
    match command {
        LoginCommand::Approve(args) => {
            let decision = LoginDecision {
                code: args.code.clone(),
                approve: true,
                user: args.user.clone(),
                organisation: args.organisation.clone(),
            };
            decide(&decision, args.format, client)
        }
        LoginCommand::Deny { code, format } => {
            let decision = LoginDecision {
                code: code.clone(),
                approve: false,
                user: None,
                organisation: None,
            };
            decide(&decision, *format, client)
        }
        LoginCommand::List(format) => {
            let logins: Logins = client.get("/api/v1/logins")?;
            if format.json {
                return Said::json(&logins);
            }
            Ok(Said::fine(show(&logins)))
        }
        LoginCommand::Revoke { id, format } => {
            let ended: LoginEnded = client.delete(&format!("/api/v1/logins/{id}"))?;
            if format.json {
                return Said::json(&ended);
            }
            Ok(Said::fine(format!("{id} is signed out")))
        }
    }
}

fn decide(decision: &LoginDecision, format: Format, client: &Client) -> anyhow::Result<Said> {
    let decided: LoginDecided = client.post("/api/v1/logins", decision)?;
    if format.json {
        return Said::json(&decided);
    }
    let program = match decided.program.as_str() {
        "" => "the program",
        program => program,
    };
    let what = match (&decided.user, &decided.organisation) {
        (Some(user), Some(organisation)) => {
            format!("calls as {user} of {organisation} from now on")
        }
        _ => "was not signed in".to_owned(),
    };
    Ok(Said::fine(plain(&format!(
        "{program} at {} {what}",
        decided.from
    ))))
}

/// Sign-ins for people.
pub(super) fn show(logins: &Logins) -> String {
    let mut table = Table::new(&[
        "sign-in",
        "program",
        "user",
        "confirmed by",
        "since",
        "renewed",
    ]);
    for it in &logins.logins {
        let by = match (&it.confirmed_by, it.here_only) {
            (Some(key), _) => key.to_string(),
            (None, true) => "nobody's key: this machine only".to_owned(),
            (None, false) => "the token".to_owned(),
        };
        table.row([
            it.id.to_string(),
            plain(&it.program),
            plain(&format!("{} of {}", it.user, it.organisation)),
            by,
            plain(&it.created_at),
            plain(&it.renewed_at),
        ]);
    }
    if table.is_empty() {
        "no program is signed in\n".to_owned()
    } else {
        table.show()
    }
}

#[cfg(test)]
mod tests;
