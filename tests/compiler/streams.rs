//! Row tiles that are worked on in turn: which calls cover a range of them.

use std::ops::Range;

use kernelgen::abi::Streams;

fn calls(tiles: Range<usize>, streams: usize) -> Vec<(usize, usize, usize)> {
    Streams::covering(tiles, streams).map(|call| (call.first, call.steps, call.distance)).collect()
}

/// First tile, steps, distance.
#[test]
fn a_range_is_cut_into_equal_parts_and_a_rest() {
    assert_eq!(calls(0..12, 4), [(0, 3, 3)]);
    assert_eq!(calls(5..29, 4), [(5, 6, 6)]);
    // Tiles 29 and 30 are left over, and done with 27 and 28 again.
    assert_eq!(calls(5..31, 4), [(5, 6, 6), (27, 1, 1)]);
    assert_eq!(calls(5..8, 3), [(5, 1, 1)]);
    // Too few for the streams to differ.
    assert_eq!(calls(5..7, 3), [(5, 2, 0)]);
    assert_eq!(calls(7..7, 3), []);
    assert_eq!(calls(7..9, 1), [(7, 2, 2)]);
}

#[test]
fn every_tile_of_a_range_is_covered_and_none_beside_it() {
    for streams in 1..=8 {
        for (start, end) in (0..40).flat_map(|end| [0, 3].map(|start| (start, start + end))) {
            let mut covered: Vec<usize> = Streams::covering(start..end, streams)
                .flat_map(|call| {
                    (0..call.steps).flat_map(move |i| (0..streams).map(move |s| call.tile(s, i)))
                })
                .collect();
            covered.sort_unstable();
            covered.dedup();
            assert_eq!(covered, (start..end).collect::<Vec<_>>(), "{streams} streams");
        }
    }
}
