//! A group, and the group operations of a device.

use gimlet_client::{ApiError, MessageTarget};

use super::{Device, MessageReceiver, ScenarioUser};

/// A group.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The group's id.
    pub id: i64,
}

impl MessageReceiver for Group {
    fn receiver(&self) -> MessageTarget {
        MessageTarget::Group(self.id)
    }
}

impl Device {
    /// Creates a group with these members besides the user of this device.
    pub async fn creates_a_group(&self, members: &[&ScenarioUser]) -> Group {
        let ids: Vec<i64> = members.iter().map(|member| member.id).collect();
        self.creates_a_group_of(&ids).await
    }

    /// Creates a group with the users of these ids.
    pub async fn creates_a_group_of(&self, members: &[i64]) -> Group {
        let created = self.api().create_group("team", members).await;
        let id = created.unwrap_or_else(|error| panic!("{}: no group: {error}", self.name()));
        Group { id }
    }

    /// Adds a user to a group.
    pub async fn adds(&self, whom: &ScenarioUser, to: &Group) -> Vec<i64> {
        let added = self.api().add_group_members(to.id, &[whom.id]).await;
        added.unwrap_or_else(|error| panic!("{} cannot add {}: {error}", self.name(), whom.name))
    }

    /// Removes a user from a group; a refusal panics.
    pub async fn removes(&self, whom: &ScenarioUser, from: &Group) {
        let removed = self.tries_to_remove(whom, from).await;
        removed.unwrap_or_else(|error| panic!("{}: {}: {error}", self.name(), whom.name));
    }

    /// Removes a user from a group and returns the result.
    pub async fn tries_to_remove(&self, whom: &ScenarioUser, from: &Group) -> Result<(), ApiError> {
        self.api().remove_group_member(from.id, whom.id).await
    }
}
