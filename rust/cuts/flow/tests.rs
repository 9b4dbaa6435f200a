use super::*;
use proptest::prelude::*;

/// Capacities to the four sides of each pixel, and from the source and to the sink.
type Capacities = Vec<([i32; SIDES], [i32; 2])>;

fn neighbour(extent: Extent, pixel: usize, side: usize) -> Option<usize> {
    let (y, x) = (pixel / extent.width, pixel % extent.width);
    match side {
        0 => (x + 1 < extent.width).then_some(pixel + 1),
        1 => (y + 1 < extent.height).then_some(pixel + extent.width),
        2 => x.checked_sub(1).map(|_| pixel - 1),
        _ => y.checked_sub(1).map(|_| pixel - extent.width),
    }
}

/// The maximum flow by augmenting paths of an adjacency matrix, and the pixels from which the sink can be reached then.
fn slow_flow(extent: Extent, capacities: &Capacities) -> (i64, Vec<bool>) {
    let n = extent.area();
    let (source, sink) = (n, n + 1);
    let mut room = vec![vec![0_i64; n + 2]; n + 2];
    for (pixel, (sides, [from_source, to_sink])) in capacities.iter().enumerate() {
        for (side, &capacity) in sides.iter().enumerate() {
            if let Some(other) = neighbour(extent, pixel, side) {
                room[pixel][other] += i64::from(capacity);
            }
        }
        room[source][pixel] += i64::from(*from_source);
        room[pixel][sink] += i64::from(*to_sink);
    }
    let mut flow = 0;
    loop {
        let mut parents = vec![None; n + 2];
        let mut queue = VecDeque::from([source]);
        while let Some(at) = queue.pop_front() {
            for next in 0..n + 2 {
                if room[at][next] > 0 && next != source && parents[next].is_none() {
                    parents[next] = Some(at);
                    queue.push_back(next);
                }
            }
        }
        if parents[sink].is_none() {
            break;
        }
        let step = |at: usize| (parents[at].expect("a node of the path"), at);
        let path: Vec<(usize, usize)> =
            std::iter::successors(Some(step(sink)), |&(tail, _)| (tail != source).then(|| step(tail)))
                .collect();
        let least = path.iter().map(|&(tail, head)| room[tail][head]).min().expect("a path");
        for (tail, head) in path {
            room[tail][head] -= least;
            room[head][tail] += least;
        }
        flow += least;
    }
    let mut reaching = vec![false; n + 2];
    let mut queue = vec![sink];
    while let Some(at) = queue.pop() {
        for from in 0..n {
            if room[from][at] > 0 && !reaching[from] {
                reaching[from] = true;
                queue.push(from);
            }
        }
    }
    (flow, reaching[..n].to_vec())
}

fn grid() -> impl Strategy<Value = (Extent, Capacities)> {
    (1_usize..6, 1_usize..6).prop_flat_map(|(height, width)| {
        let capacity = || prop_oneof![Just(0), 0..4, 0..1000];
        let sides = prop::array::uniform4(capacity());
        let node = (sides, prop::array::uniform2(capacity()));
        (Just(Extent::new(height, width)), prop::collection::vec(node, height * width))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn flow_and_cut_are_those_of_augmenting_paths(grids in prop::collection::vec(grid(), 1..3)) {
        let mut network = Grid::default();
        for (extent, capacities) in &grids { // the second one in the buffers of the first
            network.reset(*extent);
            for (pixel, (sides, [from_source, to_sink])) in capacities.iter().enumerate() {
                for (side, &capacity) in sides.iter().enumerate() {
                    if neighbour(*extent, pixel, side).is_some() {
                        network.add_arc(pixel, side, capacity);
                    }
                }
                network.add_terminals(pixel, *from_source, *to_sink);
            }
            let (flow, reaching) = slow_flow(*extent, capacities);
            prop_assert_eq!(network.solve(), flow);
            let cut: Vec<bool> = (0..extent.area()).map(|pixel| network.on_sink_side(pixel)).collect();
            prop_assert_eq!(cut, reaching);
        }
    }
}

#[test]
fn a_node_alone_passes_the_smaller_of_its_arcs() {
    let mut network = Grid::default();
    network.reset(Extent::new(1, 1));
    network.add_terminals(0, 5, 3);
    network.add_terminals(0, 1, 2);
    assert_eq!(network.solve(), 5);
    assert!(!network.on_sink_side(0) && Grid::default().solve() == 0);
    assert_eq!(std::mem::size_of::<Node>(), 32);
}
