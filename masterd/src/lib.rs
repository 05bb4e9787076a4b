
pub mod nodelog;
pub mod ra;
pub mod tftp;
pub mod tracker;
