//! Stores the account on this machine, in a file that only its owner may read, so that the next
//! start uses the same device and receives what it missed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gimlet_client::{ApiClient, ApiError, DeviceCredentials, pb};
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::result::ChatResult;
use crate::view::explain;

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct SavedAccount {
    user_id: i64,
    device_id: i64,
    token: String,
}

/// Returns the path of the file for the phone number, with this ending.
pub(crate) fn file(args: &Args, ending: &str) -> ChatResult<PathBuf> {
    let digits = |c: char| c.is_ascii_alphanumeric() || "+-_".contains(c);
    if args.phone.is_empty() || !args.phone.chars().all(digits) {
        return Err("--phone must be a phone number: --phone 13800000001".into());
    }
    let folder = args.folder();
    make(&folder)
        .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    Ok(folder.join(format!("{}.{ending}", args.phone)))
}

/// Creates the folder with access for its owner only: it holds tokens.
fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Returns the stored account; without one, signs in.
pub(crate) async fn open(args: &Args, api: &ApiClient) -> ChatResult<DeviceCredentials> {
    match load(&file(args, "json")?)? {
        Some(who) => Ok(who),
        None => sign_in(args, api).await,
    }
}

/// Registers this device and signs in on it.
pub(crate) async fn sign_in(args: &Args, api: &ApiClient) -> ChatResult<DeviceCredentials> {
    let path = file(args, "json")?;
    let work = async {
        let device_id = api.register_device("chat").await?;
        let answer = api.sign_in(&args.phone, &args.code, device_id).await?;
        Ok(DeviceCredentials {
            user_id: answer.user_id,
            device_id,
            token: answer.token,
        })
    };
    let who = work
        .await
        .map_err(|error: ApiError| explain(args, &error))?;
    save(&path, &who)?;
    Ok(who)
}

/// Sets the name, if one was given and it differs; returns the current name.
pub(crate) async fn name(args: &Args, api: &ApiClient) -> Result<String, ApiError> {
    let now = api.get_user().await?.nickname;
    match &args.name {
        Some(name) if *name != now => {
            let change = pb::UpdateUserReq {
                nickname: Some(name.clone()),
                ..pb::UpdateUserReq::default()
            };
            api.update_user(change).await?;
            Ok(name.clone())
        }
        _ => Ok(now),
    }
}

/// Deletes the stored account.
pub(crate) fn forget(args: &Args) -> ChatResult {
    for ending in ["json", "cursor"] {
        match fs::remove_file(file(args, ending)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn load(path: &Path) -> ChatResult<Option<DeviceCredentials>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display()).into()),
    };
    let saved: SavedAccount = serde_json::from_str(&text)
        .map_err(|error| format!("{} is damaged ({error}): remove it", path.display()))?;
    Ok(Some(DeviceCredentials {
        user_id: saved.user_id,
        device_id: saved.device_id,
        token: saved.token,
    }))
}

fn save(path: &Path, who: &DeviceCredentials) -> ChatResult {
    let saved = SavedAccount {
        user_id: who.user_id,
        device_id: who.device_id,
        token: who.token.clone(),
    };
    let new = path.with_added_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(serde_json::to_string(&saved)?.as_bytes())?;
    drop(file);
    Ok(fs::rename(&new, path)?)
}
