//! The tuned profile that is in force: which of the linked kernels were measured to be the fastest on this CPU.
//!
//! The first of these counts: the file that [`PROFILE_VARIABLE`] names; the user's own, [`user_file`], which `tritforge tune`
//! writes; a linked one (`configs/tuned`) of the same model; a linked one of another model of the same maker with the same
//! instruction sets. A user's file for another CPU is not followed, but reported. Without a profile, the schedule table and
//! static costs decide. Whatever is in force, the results are the same bits.

mod choice;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use etcetera::BaseStrategy;
use kernelgen::tuned::{CpuId, Kinship, ProfileError, Settings, TunedProfile};

pub(crate) use choice::Choice;

use crate::cpu;
use crate::kernels::TUNED;
use crate::new_file::{NewFileError, write_whole};
use crate::shares::Blocks;

/// The environment variable that names a profile's file, or `none` for no profile.
pub const PROFILE_VARIABLE: &str = "TRITFORGE_PROFILE";

/// Where a profile comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The file that [`PROFILE_VARIABLE`] names.
    Variable(PathBuf),
    /// The user's file.
    User(PathBuf),
    /// Linked, with the name of its machine.
    Linked(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Variable(path) => write!(f, "{PROFILE_VARIABLE}={}", path.display()),
            Origin::User(path) => write!(f, "{}", path.display()),
            Origin::Linked(name) => write!(f, "{name}, linked"),
        }
    }
}

/// A profile that is followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// The profile.
    pub profile: TunedProfile,
    /// Where it comes from.
    pub origin: Origin,
    /// How near its CPU is to this one: never a stranger.
    pub kinship: Kinship,
}

impl Followed {
    /// How much of the weights is worked on at a time: as the profile says where it was made on this CPU.
    pub(crate) fn blocks(&self) -> Blocks {
        let mut blocks = Blocks::default();
        if self.kinship == Kinship::Same {
            let Settings { stream_kib, chunk_kib, .. } = self.profile.settings;
            blocks.stream_bytes = stream_kib.map_or(blocks.stream_bytes, |kib| kib << 10);
            blocks.chunk_bytes = chunk_kib.map_or(blocks.chunk_bytes, |kib| kib << 10);
        }
        blocks
    }

    /// The number of threads, where the profile was made on this CPU and says one.
    pub(crate) fn threads(&self) -> Option<usize> {
        self.profile.settings.threads.filter(|_| self.kinship == Kinship::Same)
    }
}

/// What is in force, and why.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InForce {
    /// The profile; `None` where there is none for this CPU, or none is wanted.
    pub followed: Option<Followed>,
    /// Why there is none, where there is none.
    pub absence: &'static str,
    /// Profiles that were found and are not followed, each with the reason.
    pub refused: Vec<String>,
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.followed {
            None => write!(f, "none: {}", self.absence),
            Some(Followed { profile, origin, kinship }) => {
                let why = match kinship {
                    Kinship::Same => "made on this CPU",
                    _ => "made on another model of the same maker, with the same instruction sets",
                };
                write!(f, "{origin}: {why} ({}, {})", profile.cpu.model, profile.made.date)
            }
        }
    }
}

/// The file that `tritforge tune` writes and later runs read: `tritforge/tuned.toml` in the user's configuration folder;
/// `None` where the system has no such folder.
pub fn user_file() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.config_dir().join("tritforge").join("tuned.toml"))
}

/// What is in force in this process. Files are read once, when it is first asked for.
///
/// # Errors
/// [`ProfileError`] where [`PROFILE_VARIABLE`] names a file that is no profile, or not one for this CPU.
pub fn in_force() -> Result<&'static InForce, ProfileError> {
    static IN_FORCE: OnceLock<Result<InForce, ProfileError>> = OnceLock::new();
    let found = || {
        let variable = std::env::var_os(PROFILE_VARIABLE).filter(|value| !value.is_empty());
        choose(&cpu::identify(), variable.map(PathBuf::from).as_deref(), user_file().as_deref(), TUNED)
    };
    IN_FORCE.get_or_init(found).as_ref().map_err(Clone::clone)
}

/// The choice among what there is: see the module.
fn choose(
    here: &CpuId,
    variable: Option<&Path>,
    user: Option<&Path>,
    linked: &[(&str, &str)],
) -> Result<InForce, ProfileError> {
    if let Some(path) = variable {
        if path == Path::new("none") {
            return Ok(InForce { absence: "TRITFORGE_PROFILE=none", ..InForce::default() });
        }
        let profile = TunedProfile::load(path)?;
        let kinship = profile.cpu.kinship(here);
        if kinship == Kinship::Stranger {
            let (found, here) = (profile.cpu.to_string(), here.to_string());
            let error = Box::new(ProfileError::Cpu { found, here });
            return Err(ProfileError::File { path: path.to_owned(), error });
        }
        let origin = Origin::Variable(path.to_owned());
        return Ok(InForce { followed: Some(Followed { profile, origin, kinship }), ..InForce::default() });
    }
    let mut refused = Vec::new();
    if let Some(path) = user.filter(|path| path.exists()) {
        match TunedProfile::load(path) {
            Err(error) => refused.push(format!("{error}; run `tritforge tune` to make it anew")),
            Ok(profile) => match profile.cpu.kinship(here) {
                Kinship::Same => {
                    let origin = Origin::User(path.to_owned());
                    let followed = Some(Followed { profile, origin, kinship: Kinship::Same });
                    return Ok(InForce { followed, refused, ..InForce::default() });
                }
                _ => refused.push(format!(
                    "{}: made on another CPU, {}; run `tritforge tune` to make one for this CPU, {here}",
                    path.display(),
                    profile.cpu
                )),
            },
        }
    }
    let mut nearest: Option<Followed> = None;
    for (name, text) in linked {
        // The build has read it; one that does not parse would be the build's fault, and no reason to stop.
        let Ok(profile) = TunedProfile::parse(text) else { continue };
        let kinship = profile.cpu.kinship(here);
        let nearer = nearest.as_ref().is_none_or(|nearest| kinship > nearest.kinship);
        if kinship > Kinship::Stranger && nearer {
            nearest = Some(Followed { profile, origin: Origin::Linked((*name).to_owned()), kinship });
        }
    }
    Ok(InForce {
        followed: nearest,
        absence: "no profile is linked for this CPU, `tritforge tune` makes one",
        refused,
    })
}

/// Why a profile cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] NewFileError),
    /// It cannot be put into words.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// Writes a profile to a file, in whose place one that was there is put only when it is complete. Folders are made as needed.
///
/// # Errors
/// [`SaveError`]; a file that was there is as before then.
pub fn save(profile: &TunedProfile, path: &Path) -> Result<(), SaveError> {
    let text = profile.to_toml()?;
    let io = |source| NewFileError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    write_whole(path, true, |file| {
        let heading =
            "# A tuned profile of tritforge: see configs/README.md. `tritforge tune` makes it anew.\n\n";
        file.write_all(heading.as_bytes())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|e| io(e).into())
    })
}
