// In place of winograd/feed: the path is absent, or shares the feed of another path.

#import winograd/input_shape

const PRESENT: bool = false;

fn make(f: Feed, thread: u32) {
}
