//! Ids and the roles inside a tenant.

pub type Id = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    FieldUser,
    CrewChief,
    Admin,
}

impl Role {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "viewer" => Some(Self::Viewer),
            "field_user" => Some(Self::FieldUser),
            "crew_chief" => Some(Self::CrewChief),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::FieldUser => "field_user",
            Self::CrewChief => "crew_chief",
            Self::Admin => "admin",
        }
    }
}
