//! Whose data a request is about.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use trivium_model::TenantId;

/// The tenant that the layer which knows the credential put into the extensions of the request; never what the client says of
/// itself. Without credentials there is one tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenant(pub(crate) TenantId);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().copied().unwrap_or(TenantId::DEFAULT)))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[tokio::test]
    async fn the_tenant_is_the_credentials() {
        for (given, expected) in [(None, TenantId::DEFAULT), (Some(TenantId(7)), TenantId(7))] {
            let mut request = Request::new(());
            if let Some(tenant) = given {
                request.extensions_mut().insert(tenant);
            }
            let (mut parts, ()) = request.into_parts();
            let Ok(Tenant(tenant)) = Tenant::from_request_parts(&mut parts, &()).await;
            assert_eq!(tenant, expected);
        }
    }
}
