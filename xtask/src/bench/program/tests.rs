use super::*;

#[test]
fn rounds_of_a_bench_program_are_joined_by_name() {
    let mut figures = Vec::new();
    let round = |value| {
        format!(
            "running\n{{\"name\":\"reserve p50\",\"unit\":\"ns\",\"value\":{value},\"at_most\":300.0}}\n"
        )
    };
    add(&mut figures, &round("200.0")).unwrap();
    add(&mut figures, &round("310.5")).unwrap();
    assert_eq!(figures.len(), 1);
    assert_eq!(figures[0].rounds, [200.0, 310.5]);
    assert_eq!(figures[0].at_most, Some(300.0));
}

#[test]
fn a_line_that_is_no_figure_is_refused_whole() {
    let error = add(&mut Vec::new(), r#"{"name":"p50","value":1.0}"#).unwrap_err();
    assert!(error.to_string().contains("p50"), "{error}");
}
