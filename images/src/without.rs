//! An image that takes less of what a host may offer: to see what a feature is worth, and that a guest does without it.

use hvt_abi::boot_info::Features;
use hvt_abi::note::TakesNote;

use crate::{ImageError, plan};

/// The same image, taking everything that it did but `features`. One that takes none of them stays as it is.
///
/// # Errors
/// When it is no image.
pub fn without(image: &[u8], features: Features) -> Result<Vec<u8>, ImageError> {
    let takes = plan(image)?.takes.features();
    let (old, new) = (TakesNote::new(takes), TakesNote::new(takes.without(features)));
    let (old, new) = (old.as_bytes(), new.as_bytes());
    let mut image = image.to_vec();
    // The note is found by its content, which is its owner's name and what has just been read from it.
    if let Some(place) = image.windows(old.len()).position(|window| window == old) {
        image[place..place + new.len()].copy_from_slice(new);
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    #[test]
    fn what_is_left_out_is_no_longer_taken_and_the_rest_is() {
        let all = plan(builtin::HELLO).unwrap();
        let ring = Features::SHARED_RING.union(Features::POLL_SERVES_RING);
        assert!(all.takes.contains(ring));
        let image = without(builtin::HELLO, ring).unwrap();
        let less = plan(&image).unwrap();
        assert_eq!(less.takes, all.takes.features().without(ring).into());
        assert_eq!(less.segments.len(), all.segments.len());
        assert_eq!(without(&image, ring).unwrap(), image, "there is nothing left to leave out");
        assert!(without(b"no image", ring).is_err());
    }
}
