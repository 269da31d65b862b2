//! Sums of many sizes that are to be known in bounded time.

/// The sum of `count` sizes by the first `samples` of them: exact where there are no more. O(samples).
pub fn sampled_sum(count: usize, samples: usize, sizes: impl Iterator<Item = usize>) -> usize {
    let seen: usize = sizes.take(samples).sum();
    if count <= samples {
        return seen;
    }
    (seen as u128 * count as u128 / samples.max(1) as u128) as usize
}

#[cfg(test)]
mod tests {
    use super::sampled_sum;

    #[test]
    fn few_are_summed_and_many_scaled() {
        let sizes = || [1, 2, 3, 10].into_iter();
        assert_eq!((sampled_sum(4, 4, sizes()), sampled_sum(4, usize::MAX, sizes())), (16, 16));
        assert_eq!((sampled_sum(4, 2, sizes()), sampled_sum(0, 0, [].into_iter())), (6, 0));
        assert_eq!(sampled_sum(4, 0, sizes()), 0);
    }
}
