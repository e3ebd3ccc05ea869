use std::process::ExitCode;

use super::Done;

pub(super) fn run() -> Done {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system has no random bytes: {error}"))?;
    println!("{}", jwt_gate_token::base64url_encode(&bytes));
    Ok(ExitCode::SUCCESS)
}
