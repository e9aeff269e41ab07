//! Who may do what: credentials, roles, tenants, the route table, the audit log.
//!
//! A listener's router is wrapped in [`AuthLayer`], which finds the [`Principal`] of a request by its [`Authenticator`], looks up
//! in a [`RouteTable`] what the route needs, and refuses everything else. Knows HTTP, and neither storage nor any handler.

mod address;
mod api;
mod audit;
mod authenticator;
mod config;
mod cookie;
mod error;
mod fetch;
mod jwt;
mod layer;
mod lockout;
mod manage;
mod oidc;
mod password;
mod principal;
mod refuse;
mod role;
pub mod routes;
mod secret;
mod store;
mod telemetry;
#[cfg(test)]
mod testing;
mod token;
mod verified;

pub use api::router;
pub use audit::{Action, AuditEvent, AuditLine, ChainBreak, HISTORY_KIND, verify as verify_audit};
pub use authenticator::{AuthDeps, Authenticator};
pub use config::{AuthConfig, ClaimMapping, JwtConfig, Mode, OidcConfig, PasswordCost};
pub use error::Error;
pub use fetch::{HttpClient, NoClient, OutgoingAnswer, OutgoingRequest};
pub use layer::{AuditDetail, AuthLayer, AuthService, refuse};
pub use manage::{NewToken, NewUser, TenantInfo, TokenInfo, UserChange, UserInfo};
pub use principal::{Caller, How, Permission, Principal};
pub use refuse::Door;
pub use role::{Role, Signals, Verb};
pub use routes::{Access, Route, RouteTable};
pub use secret::Secret;
