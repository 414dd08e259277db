//! Values that must not be printed.

/// What is printed instead of a secret value.
pub(super) const MASK: &str = "******";

/// Parts of keys whose values are secrets: Flink's list (`GlobalConfiguration.SENSITIVE_KEYS`).
const SECRET_PARTS: &[&str] = &[
    "password",
    "secret",
    "fs.azure.account.key",
    "apikey",
    "api-key",
    "auth-params",
    "service-key",
    "token",
    "basic-auth",
    "jaas.config",
    "http-headers",
    "access-key",
    "access.key",
    "private-key",
    "credential",
];

/// Whether the value of `key` is a secret, which logs, errors and the web UI show as `******`.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| key.contains(part))
}

/// `value`, or the mask if `key` is a secret one.
pub(super) fn shown(key: &str, value: &impl ToString) -> String {
    if is_secret(key) {
        MASK.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_look_secret_are_masked_and_others_are_not() {
        for key in [
            "s3.secret-key",
            "acme.Password",
            "security.ssl.rest.key-password",
            "dfs.token",
        ] {
            assert_eq!(shown(key, &"hunter2"), MASK, "{key}");
        }
        for key in ["state.backend.type", "rest.port", "execution.checkpointing.dir"] {
            assert_eq!(shown(key, &"plain"), "plain", "{key}");
        }
    }
}
