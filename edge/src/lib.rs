pub mod link;
pub mod people;
pub mod counts;
