//! The secret of an epoch, whose disclosure releases it.

use std::fmt;

use serde::{Deserialize, Serialize};

const SECRET_BYTES: usize = 32;

/// Drawn by the holder for each epoch and kept by its guard. The renewals carry its hash; whoever
/// can show the secret itself proves that the guard found the process tree empty.
///
/// Never printed: `Debug` hides it. As text, in orders and in the release note, it is hexadecimal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret([u8; SECRET_BYTES]);

/// The text is not a secret's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an epoch's secret is 64 hexadecimal digits, this text of {length} characters is not")]
pub struct SecretError {
    length: usize,
}

impl Secret {
    /// The secret made of these bytes, drawn from the operating system's random source.
    pub const fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the release and its hash.
    pub const fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Secret {
    type Error = SecretError;

    fn try_from(text: String) -> Result<Self, SecretError> {
        let refused = || SecretError {
            length: text.chars().count(),
        };
        let digits = text.as_bytes();
        if digits.len() != 2 * SECRET_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(refused());
        }
        let mut bytes = [0; SECRET_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refused())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_text_and_is_never_printed() {
        let secret = Secret::new(std::array::from_fn(|index| index as u8 * 8));
        let text = String::from(secret.clone());
        assert_eq!(text.len(), 64);
        assert_eq!(Secret::try_from(text.clone()), Ok(secret.clone()));
        assert!(!format!("{secret:?}").contains(&text[..8]));
    }

    #[test]
    fn refuses_other_texts() {
        for text in [
            String::new(),
            "0".repeat(63),
            "g".repeat(64),
            "+f".repeat(32),
        ] {
            assert!(Secret::try_from(text).is_err());
        }
    }
}
