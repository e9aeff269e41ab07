//! Bad input through every door of a running server. Has tests only: a table of cases, and a driver that asks after each
//! family whether the server is still the one it was.

#[cfg(test)]
mod build;
#[cfg(test)]
mod case;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod driver;
#[cfg(test)]
mod families;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod pressure;
#[cfg(test)]
mod reply;
#[cfg(test)]
mod server;
