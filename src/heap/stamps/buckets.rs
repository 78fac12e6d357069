//! The buckets of an HDR histogram of two significant digits: values 0 to 255 have one each, and from there on 128 for each doubling, so that a bucket is at
//! most 0.8 % wide. The same arithmetic as HdrHistogram's, whose files are made from these numbers (`harness/tests/histogram.rs` compares the two).

/// log2 of the number of buckets per doubling.
const HALF: u32 = 7;

/// Significant decimal digits, in HdrHistogram's terms.
pub const DIGITS: u32 = 2;

/// Numbers of buckets run from 0 to below this.
pub const BUCKETS: usize = bucket_of(u64::MAX) + 1;

/// The bucket that counts `value`.
#[inline]
pub const fn bucket_of(value: u64) -> usize {
    let shift = (63 - HALF) - (value | ((2 << HALF) - 1)).leading_zeros();
    ((shift as usize) << HALF) + (value >> shift) as usize
}

/// The lowest value that a bucket counts.
pub const fn lowest_in(bucket: usize) -> u64 {
    if bucket < 2 << HALF {
        return bucket as u64;
    }
    let shift = (bucket >> HALF) - 1;
    let part = (bucket & ((1 << HALF) - 1)) | 1 << HALF;
    (part as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_holds_what_it_says() {
        for bucket in 0..BUCKETS {
            let low = lowest_in(bucket);
            assert_eq!(bucket_of(low), bucket);
            assert!(low == 0 || bucket_of(low - 1) == bucket - 1);
            let width = if bucket + 1 < BUCKETS { lowest_in(bucket + 1) - low } else { u64::MAX - low };
            assert!(low < 256 || width <= low / 128, "{low}: {width}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }
}
