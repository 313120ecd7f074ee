pub mod authority;
pub mod fingerprint;
pub mod links;
pub mod people;
mod secret_file;
