//! Operations of backends on many things at once. Each item has an outcome of its own, in the order of the
//! request, so that one refusal does not stop the others.

use std::future::Future;

use futures_util::stream::{self, StreamExt as _};
use gimlet_core::id::{DeviceId, GroupId, UserId};
use gimlet_core::scope::ApiScope;
use http::Method;

use crate::backend::issue_to;
use crate::call::ApiCall;
use crate::groups::{CreateGroup, create_for};
use crate::json::{WholeNumber, object};
use crate::nodes::ApiRole;
use crate::operation::{ApiOperation, OperationAccess};
use crate::problem::ApiProblem;

/// Largest number of tokens that one request issues.
const MAX_TOKENS: usize = 500;
/// Largest number of groups that one request creates or changes.
const MAX_GROUPS: usize = 100;
/// Largest number of members that one request removes, from all of its groups: each removal is a
/// change of its own.
const MAX_REMOVED: usize = 500;
/// Items that are worked on at the same time, so that a storage can commit them together.
const CONCURRENCY: usize = 16;

object! {
    /// The reason that an item was refused, as in a problem document.
    ItemProblem {
        /// The HTTP status that the item alone would have had.
        status: i32,
        /// gimlet's code.
        code: i32,
        /// The reason, and what would be right.
        detail: String,
        /// The field, if one is wrong.
        field: Option<String>,
        /// Milliseconds after which a repeat may be accepted.
        retry_after_ms: Option<i64>,
    }
}

object! {
    /// A token to issue.
    TokenOrder {
        /// The user.
        user_id: UserId,
        /// The device that the token is for; by default a new one is registered.
        device_id: Option<DeviceId>,
    }
}

object! {
    /// Tokens to issue.
    IssueTokens {
        /// The tokens, up to 500.
        tokens: Vec<TokenOrder>,
    }
}

object! {
    /// An issued token, or the reason that there is none.
    TokenOutcome {
        /// The user.
        user_id: UserId,
        /// The device that the token is for.
        device_id: Option<DeviceId>,
        /// The token, for the header `Authorization: Bearer`.
        token: Option<String>,
        /// The reason of a refusal.
        error: Option<ItemProblem>,
    }
}

object! {
    /// Issued tokens.
    TokenOutcomes {
        /// The outcomes, in the order of the request.
        tokens: Vec<TokenOutcome>,
        /// The number of refused ones.
        refused: WholeNumber,
    }
}

object! {
    /// A group to create for a user.
    ImportGroup {
        /// The user that becomes its admin.
        owner_id: UserId,
        /// The name.
        name: String,
        /// The picture.
        avatar_url: Option<String>,
        /// The introduction.
        introduction: Option<String>,
        /// The application's data.
        extra: Option<String>,
        /// The first members beside the owner.
        member_ids: Option<Vec<UserId>>,
    }
}

object! {
    /// Groups to create.
    ImportGroups {
        /// The groups, up to 100.
        groups: Vec<ImportGroup>,
    }
}

object! {
    /// A created group, or the reason that there is none.
    GroupOutcome {
        /// The group's id.
        group_id: Option<GroupId>,
        /// The reason of a refusal.
        error: Option<ItemProblem>,
    }
}

object! {
    /// Created groups.
    GroupOutcomes {
        /// The outcomes, in the order of the request.
        groups: Vec<GroupOutcome>,
        /// The number of refused ones.
        refused: WholeNumber,
    }
}

object! {
    /// A change of a group's members.
    MemberOrder {
        /// The group.
        group_id: GroupId,
        /// The member that makes the change; it needs the rights for it.
        operator_id: UserId,
        /// The users to add.
        add: Option<Vec<UserId>>,
        /// The members to remove. One that is not a member is passed over.
        remove: Option<Vec<UserId>>,
    }
}

object! {
    /// Changes of members.
    ChangeMembers {
        /// The changes, up to 100, which together remove up to 500 members. Those of one group are made
        /// in their order.
        changes: Vec<MemberOrder>,
    }
}

object! {
    /// The outcome of a change of members.
    MemberOutcome {
        /// The group.
        group_id: GroupId,
        /// The number of users that became members.
        added: WholeNumber,
        /// The number of removals that were made before the error, or all of them.
        removed: WholeNumber,
        /// The reason that the change stopped.
        error: Option<ItemProblem>,
    }
}

object! {
    /// Outcomes of changes of members.
    MemberOutcomes {
        /// The outcomes, in the order of the request.
        changes: Vec<MemberOutcome>,
        /// The number of changes that stopped.
        refused: WholeNumber,
    }
}

impl From<ApiProblem> for ItemProblem {
    fn from(problem: ApiProblem) -> Self {
        let (status, code) = (problem.status(), problem.code());
        Self {
            status: status.as_u16().into(),
            code,
            retry_after_ms: problem.retry_after_ms(),
            field: problem.field_name().map(str::to_owned),
            detail: problem.into_detail(),
        }
    }
}

/// Refuses a list that is longer than it may be.
fn within(field: &str, count: usize, max: usize) -> Result<(), ApiProblem> {
    if count <= max {
        return Ok(());
    }
    let detail = format!("{field} has {count} items; it must have at most {max}");
    Err(ApiProblem::field(field, detail))
}

/// Does all the work, several items at a time; the outcomes are in the order of the items.
async fn each<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    stream::iter(work).buffered(CONCURRENCY).collect().await
}

fn refused<'a>(errors: impl Iterator<Item = &'a Option<ItemProblem>>) -> WholeNumber {
    let count = errors.filter(|error| error.is_some()).count();
    WholeNumber(count.try_into().unwrap_or(u64::MAX))
}

async fn issue_tokens(call: ApiCall, input: IssueTokens) -> Result<TokenOutcomes, ApiProblem> {
    within("tokens", input.tokens.len(), MAX_TOKENS)?;
    // A process without users refuses the request as a whole.
    call.accounts()?;
    let work = input.tokens.into_iter().map(async |order| {
        let issued = issue_to(&call, order.user_id, order.device_id).await;
        let (token, error) = match issued {
            Ok(token) => (Some(token), None),
            Err(problem) => (None, Some(problem.into())),
        };
        let (device_id, token) = match token {
            Some(it) => (Some(it.device_id), Some(it.token)),
            None => (order.device_id, None),
        };
        TokenOutcome {
            user_id: order.user_id,
            device_id,
            token,
            error,
        }
    });
    let tokens = each(work).await;
    Ok(TokenOutcomes {
        refused: refused(tokens.iter().map(|it| &it.error)),
        tokens,
    })
}

async fn import_groups(call: ApiCall, input: ImportGroups) -> Result<GroupOutcomes, ApiProblem> {
    within("groups", input.groups.len(), MAX_GROUPS)?;
    call.service()?;
    let work = input.groups.into_iter().map(async |group| {
        let fields = CreateGroup {
            name: group.name,
            avatar_url: group.avatar_url,
            introduction: group.introduction,
            extra: group.extra,
            member_ids: group.member_ids,
        };
        match create_for(&call, group.owner_id, fields).await {
            Ok(group) => GroupOutcome {
                group_id: Some(group),
                error: None,
            },
            Err(problem) => GroupOutcome {
                group_id: None,
                error: Some(problem.into()),
            },
        }
    });
    let groups = each(work).await;
    Ok(GroupOutcomes {
        refused: refused(groups.iter().map(|it| &it.error)),
        groups,
    })
}

async fn change_members(call: ApiCall, input: ChangeMembers) -> Result<MemberOutcomes, ApiProblem> {
    within("changes", input.changes.len(), MAX_GROUPS)?;
    let removals = input.changes.iter().flat_map(|it| &it.remove);
    let removals: usize = removals.map(Vec::len).sum();
    if removals > MAX_REMOVED {
        let detail = format!(
            "changes remove {removals} members; they must remove at most {MAX_REMOVED} together"
        );
        return Err(ApiProblem::field("changes", detail));
    }
    call.service()?;
    // One after the other: changes of one group keep their order.
    let mut changes = Vec::with_capacity(input.changes.len());
    for order in input.changes {
        let mut outcome = MemberOutcome {
            group_id: order.group_id,
            added: WholeNumber(0),
            removed: WholeNumber(0),
            error: None,
        };
        if let Err(problem) = change_one(&call, order, &mut outcome).await {
            outcome.error = Some(problem.into());
        }
        changes.push(outcome);
    }
    Ok(MemberOutcomes {
        refused: refused(changes.iter().map(|it| &it.error)),
        changes,
    })
}

async fn change_one(
    call: &ApiCall,
    order: MemberOrder,
    outcome: &mut MemberOutcome,
) -> Result<(), ApiProblem> {
    let (service, operator) = (call.service()?, order.operator_id);
    let add = order.add.unwrap_or_default();
    if !add.is_empty() {
        let already = service.add_members(operator, order.group_id, &add).await;
        let already = already.map_err(|refusal| ApiProblem::from(refusal).inside("add".into()))?;
        let added: std::collections::BTreeSet<_> = add.iter().collect();
        let added = added.len().saturating_sub(already.len());
        outcome.added = WholeNumber(added.try_into().unwrap_or(u64::MAX));
    }
    for (at, member) in order.remove.into_iter().flatten().enumerate() {
        let removed = service
            .remove_member(operator, order.group_id, member)
            .await;
        removed.map_err(|refusal| ApiProblem::from(refusal).inside(format!("remove[{at}]")))?;
        outcome.removed.0 += 1;
    }
    Ok(())
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::POST,
            "/tokens",
            OperationAccess::Backend(ApiScope::TokensWrite),
            "issueTokens",
            "Makes tokens of many users; an earlier token on the same device ends. Each has an outcome of \
             its own.",
            issue_tokens,
        )
        .by(ApiRole::Business),
        ApiOperation::new(
            Method::POST,
            "/groups/import",
            OperationAccess::Backend(ApiScope::GroupsWrite),
            "importGroups",
            "Creates many groups. Each has an outcome of its own; a repeat creates further groups.",
            import_groups,
        ),
        ApiOperation::new(
            Method::POST,
            "/groups/members",
            OperationAccess::Backend(ApiScope::GroupsWrite),
            "changeMembers",
            "Adds members to many groups and removes others. Each change has an outcome of its own, and may \
             be repeated.",
            change_members,
        ),
    ]
}
