//! Pages of lists.

use crate::problem::ApiProblem;

/// Largest page of a list.
const MAX_LIST_ITEMS: u32 = 500;
/// Usual page of a list.
const LIST_ITEMS: u32 = 50;

/// Returns the number of items of a page.
pub(crate) fn page_items(limit: Option<u32>) -> Result<usize, ApiProblem> {
    let limit = limit.unwrap_or(LIST_ITEMS);
    if !(1..=MAX_LIST_ITEMS).contains(&limit) {
        let detail = format!("limit is {limit}; it must be from 1 to {MAX_LIST_ITEMS}");
        return Err(ApiProblem::field("limit", detail));
    }
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_out_of_range_is_refused() {
        assert_eq!(page_items(None), Ok(50));
        assert_eq!(page_items(Some(500)), Ok(500));
        assert!(page_items(Some(0)).is_err());
        assert!(page_items(Some(501)).is_err());
    }
}
